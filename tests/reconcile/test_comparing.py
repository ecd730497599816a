"""What was billed beside what slurmdbd says: which difference is named, and that nothing else is."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from caravan.contracts.jobs import Outcome
from caravan.contracts.prices import PRICED, Component
from caravan.contracts.runs import Priced, SiteRun
from caravan.contracts.slurm import is_of_site
from caravan.contracts.statements import BearerKind, BearerReason, UsageLine
from caravan.contracts.usage import Span
from caravan.kernel import ids
from caravan.kernel.clock import from_seconds
from caravan.kernel.money import Money
from caravan.pricing import amount, units_of
from caravan.reconcile import Asked, Kind, Reconciliation, comparing, slurm, unsettled
from caravan.reconcile.rows import Row
from caravan.sacct import Allocation
from services.broker.adapters.slurm.submit import mark

FROM, TO = 1_000_000, 1_100_000
SITE = ids.new("sit")
ASKED = Asked(SITE, FROM, TO, complete_through=TO + 1000, as_of=TO + 2000)
GRES = slurm.gres(["gres/gpu:h100"])
JOB, ORGANIZATION, PROJECT, PROVIDER = ids.new("job"), ids.new("org"), ids.new("prj"), ids.new("prv")
PERIOD, PRICE_LIST = ids.new("per"), ids.new("prl")
PRICES = {
    Component.CPU_CORE_HOUR: Decimal(36),
    Component.NODE_HOUR: Decimal(36),
    Component.ACCELERATOR_HOUR: Decimal(36),
    Component.MEMORY_GIB_HOUR: Decimal(36 * 1024),
    Component.JOB: Decimal("0.25"),
}
"""A fen for a second of each, and 25 for a job."""


def row(start: int = FROM, seconds: int | None = 100, number: int = 1, **changed: Any) -> Allocation:
    made = Allocation(
        line=number,
        identity=f"qin:{number}:{start - 5}",
        account="alloys",
        user="li",
        submitted=start - 5,
        start=start,
        end=None if seconds is None else start + seconds,
        state="RUNNING" if seconds is None else "COMPLETED",
        nodes=2,
        cpus=8,
        memory_mib=512,
        accelerators=(("gpu:h100", 4),),
        name=ids.bare(ids.new("att")),
    )
    return replace(made, **changed)


def span(start: int, end: int, like: Allocation) -> Span:
    return Span(
        start=from_seconds(start),
        end=from_seconds(end),
        nodes=like.nodes,
        cpus=like.cpus,
        memory_mib=like.memory_mib,
        accelerators=sum(count for _, count in like.accelerators),
        accelerator="acc_nvidia-h100-80g",
    )


def priced(*spans: Span) -> tuple[Priced, ...]:
    held: Counter[Component] = Counter({Component.JOB: 1})
    for one in spans:
        seconds = int((one.end - one.start).total_seconds())
        held.update({component: units * seconds for component, units in units_of(one)})
    return tuple(
        Priced(
            period=PERIOD,
            price_list=PRICE_LIST,
            component=component,
            accelerator="acc_nvidia-h100-80g" if component is Component.ACCELERATOR_HOUR else None,
            tariff="day",
            window="all",
            unit_price=PRICES[component],
            quantity=quantity,
        )
        for component, quantity in held.items()
    )


def lines_of(runs: Iterable[SiteRun]) -> list[UsageLine]:
    """What the runs come to: a line for each job and component."""
    sums: Counter[tuple[str, Priced]] = Counter()
    for run in runs:
        for part in run.priced:
            sums[run.job, part.model_copy(update={"quantity": 0})] += part.quantity
    return [
        UsageLine(
            id=ids.new("lin"),
            organization=ORGANIZATION,
            provider=PROVIDER,
            seller=PROVIDER,
            project=PROJECT,
            job=job,
            price_list_revision=1,
            bearer=BearerKind.ORGANIZATION,
            quantity=quantity,
            amount=Money(amount(part.component, quantity, part.unit_price)),
            **part.model_dump(exclude={"quantity", "unit_price"}),
            unit_price=part.unit_price,
        )
        for (job, part), quantity in sums.items()
    ]


def of(line: UsageLine) -> Money:
    return Money(amount(line.component, line.quantity, line.unit_price))


def read(rows: Iterable[Allocation]) -> list[Row]:
    return [slurm.row(one, SITE, GRES) for one in rows]


def reconcile(
    rows: Iterable[Allocation],
    runs: Sequence[SiteRun],
    lines: Iterable[UsageLine],
    asked: Asked,
    moving: Collection[str] = (),
) -> Reconciliation:
    return comparing.reconcile(read(rows), runs, lines, asked, moving)


def compare(rows: Iterable[Allocation], runs: Sequence[SiteRun], asked: Asked) -> Reconciliation:
    """With lines that are what the runs come to."""
    return reconcile(rows, runs, lines_of(runs), asked)


def run_of(one: Allocation, *spans: Span, outcome: Outcome | None = Outcome.SUCCEEDED) -> SiteRun:
    held = spans or (span(one.start, one.start + 50 if one.end is None else one.end, one),)
    return SiteRun(
        run=ids.new("run"),
        attempt=ids.new("att"),
        job=JOB,
        organization=ORGANIZATION,
        project=PROJECT,
        identity=one.identity,
        outcome=outcome,
        spans=held,
        priced=priced(*held),
    )


def named(found: Reconciliation) -> list[tuple[Kind, str | None]]:
    return [(one.kind, one.identity) for one in found.differences]


def test_two_that_agree_have_no_difference_and_their_sums_are_told() -> None:
    rows = [row(), row(number=2, start=FROM + 7)]
    found = compare(rows, [run_of(one) for one in rows], ASKED)
    assert (found.differences, found.open, found.compared) == ((), (), 2)
    assert (found.charged, found.borne_by_provider) == (Money(2 * (100 * (8 + 2 + 512 + 4) + 25)), Money(0))


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"end": FROM + 101}, Kind.SECONDS),
        ({"cpus": 9}, Kind.CORES),
        ({"nodes": 1}, Kind.NODES),
        ({"accelerators": (("gpu:h100", 3),)}, Kind.ACCELERATORS),
    ],
)
def test_a_figure_that_differs_is_named_with_both(changed: dict[str, Any], kind: Kind) -> None:
    one = row()
    (found,) = compare([replace(one, **changed)], [run_of(one)], ASKED).differences
    assert (found.kind, found.identity) == (kind, one.identity)
    assert found.books is not None and found.caravan is not None
    field = kind.value
    assert getattr(found.books, field) != getattr(found.caravan, field)


def test_only_what_the_site_says_are_accelerators_counts() -> None:
    one = row()
    run = run_of(one)
    more = replace(one, accelerators=(*one.accelerators, ("craynetwork", 1), ("license:abaqus", 2)))
    assert named(compare([more], [run], ASKED)) == []
    two = replace(one, accelerators=(("gpu", 1), ("gpu:a100", 2), ("gpu:h100", 1)))
    assert named(compare([two], [run], ASKED)) == []
    (found,) = compare([replace(more, cpus=1)], [run], ASKED).differences
    assert found.books is not None and (found.books.accelerators, found.books.kinds) == ((4,), ("gpu:h100",))


def test_a_job_that_was_resized_and_held_each_size_for_another_time_is_named() -> None:
    first = row(seconds=40)
    rest = replace(first, line=2, start=FROM + 40, end=FROM + 100, cpus=4)
    run = run_of(first, span(FROM, FROM + 60, first), span(FROM + 60, FROM + 100, rest))
    assert named(compare([first, rest], [run], ASKED)) == [(Kind.CORES, first.identity)]


@pytest.mark.parametrize("component", PRICED)
def test_a_line_that_is_not_what_the_jobs_runs_come_to_is_named(component: Component) -> None:
    one, other = row(), row(number=2)
    runs = [run_of(one), run_of(other)]
    lines = lines_of(runs)
    (wrong,) = [line for line in lines if line.component is component]
    others = [line for line in lines if line is not wrong]
    less = wrong.model_copy(update={"quantity": wrong.quantity - 1})
    due = wrong.model_copy(update={"quantity": less.quantity, "amount": of(less)})
    for changed in ([due], [], [wrong, due], [wrong.model_copy(update={"unit_price": Decimal(1)})]):
        differences = reconcile([one, other], runs, [*others, *changed], ASKED).differences
        assert Kind.LINES in {one.kind for one in differences} and {one.job for one in differences} == {JOB}
        assert all(one.billed and one.billed.component is component for one in differences)
        assert unsettled(runs, [*others, *changed]) == {JOB}
    (found,) = reconcile([one, other], runs, [*others, due], ASKED).differences
    assert found.billed is not None
    assert (found.billed.priced, found.billed.quantity) == (wrong.quantity, wrong.quantity - 1)
    assert (found.billed.due, found.billed.amount) == (wrong.amount, due.amount)


@pytest.mark.parametrize("component", PRICED)
def test_an_amount_that_is_not_the_price_of_its_quantity_is_named(component: Component) -> None:
    one = row()
    runs = [run_of(one)]
    lines = lines_of(runs)
    (right,) = [line for line in lines if line.component is component]
    others = [line for line in lines if line is not right]
    wrong = right.model_copy(update={"amount": right.amount + Money(1)})
    (found,) = reconcile([one], runs, [*others, wrong], ASKED).differences
    assert (found.kind, found.job, found.billed and found.billed.bearer) == (Kind.AMOUNTS, JOB, BearerKind.ORGANIZATION)
    assert found.billed is not None and (found.billed.due, found.billed.amount) == (right.amount, wrong.amount)


def test_a_line_of_a_job_that_was_read_at_several_moments_is_open() -> None:
    one = row()
    runs = [run_of(one)]
    less, *others = (
        line.model_copy(update={"quantity": line.quantity - 1, "amount": Money(0)}) for line in lines_of(runs)
    )
    found = reconcile([one], runs, [less, *others], ASKED, {JOB})
    assert {one.kind for one in found.differences} == {Kind.AMOUNTS}
    assert len(found.open) == len(lines_of(runs))
    assert named(reconcile([replace(one, cpus=1)], runs, lines_of(runs), ASKED, {JOB})) == [(Kind.CORES, one.identity)]


def test_a_line_its_corrections_and_what_the_provider_bears_of_it_are_one() -> None:
    one = row()
    runs = [run_of(one)]
    (core,) = [line for line in lines_of(runs) if line.component is Component.CPU_CORE_HOUR]
    others = [line for line in lines_of(runs) if line.component is not Component.CPU_CORE_HOUR]
    wrong = core.model_copy(update={"quantity": 900, "amount": Money(900)})
    correction = core.model_copy(
        update={"period": ids.new("per"), "corrects": PERIOD, "quantity": -150, "amount": Money(-150)}
    )
    borne = core.model_copy(
        update={"bearer": BearerKind.PROVIDER, "reason": BearerReason.OVERRUN, "quantity": 50, "amount": Money(50)}
    )
    assert core.quantity == 800
    found = reconcile([one], runs, [wrong, correction, borne, *others], ASKED)
    assert (named(found), found.borne_by_provider) == ([], Money(50))
    assert found.charged == Money(750) + sum((line.amount for line in others), Money(0))
    moved = borne.model_copy(update={"amount": Money(49)})
    kept = correction.model_copy(update={"amount": Money(-149)})
    found = reconcile([one], runs, [wrong, kept, moved, *others], ASKED)
    assert [(one.kind, one.billed and one.billed.bearer) for one in found.differences] == [
        (Kind.AMOUNTS, BearerKind.ORGANIZATION),
        (Kind.AMOUNTS, BearerKind.PROVIDER),
    ]


def test_what_the_site_did_not_bill_is_no_difference_and_summed_apart() -> None:
    one = row()
    runs = [run_of(one)]
    notional = {"bearer": BearerKind.NOBODY, "reason": BearerReason.NOTIONAL}
    lines = [line.model_copy(update=notional) for line in lines_of(runs)]
    found = reconcile([one], runs, lines, ASKED)
    assert (named(found), found.charged, found.borne_by_provider) == ([], Money(0), Money(0))
    assert found.notional == sum((line.amount for line in lines), Money(0)) != Money(0)


def test_runs_outside_of_what_was_asked_for_count_for_the_lines_of_their_job() -> None:
    one, before = row(), row(start=FROM - 5000, number=2)
    runs = [run_of(one), run_of(before)]
    assert named(compare([one], runs, ASKED)) == []
    assert unsettled(runs[:1], lines_of(runs)) == {JOB}
    foreign = run_of(before).model_copy(update={"job": ids.new("job")})
    found = reconcile([one], [runs[0], foreign], lines_of(runs[:1]), ASKED)
    assert (named(found), found.compared) == ([], 1)


def test_a_row_that_is_named_as_ours_and_unknown_here_was_not_billed() -> None:
    one, other = row(), row(number=2, name="melt")
    assert named(compare([one, other], [], ASKED)) == [(Kind.NOT_BILLED, one.identity)]


def test_a_row_that_somebody_renamed_is_ours_by_its_identity() -> None:
    one = row(name="melt")
    assert named(compare([replace(one, cpus=1)], [run_of(one)], ASKED)) == [(Kind.CORES, one.identity)]


def test_a_run_that_was_billed_twice_is_in_slurms_books_once() -> None:
    one = row()
    first, second = run_of(one), run_of(one)
    (found,) = compare([one], [second, first], ASKED).differences
    assert (found.kind, found.run) == (Kind.NOT_IN_BOOKS, second.run)


def test_a_run_of_which_no_identity_was_told_is_not_in_slurms_books() -> None:
    run = run_of(row()).model_copy(update={"identity": None})
    assert named(compare([], [run], ASKED)) == [(Kind.NOT_IN_BOOKS, None)]


def test_requeues_are_runs_of_their_own() -> None:
    first = row(seconds=40)
    again = replace(first, identity=f"qin:1:{FROM + 60}", submitted=FROM + 60, start=FROM + 70, end=FROM + 90)
    runs = [run_of(first), run_of(again)]
    assert named(compare([first, again], runs, ASKED)) == []
    assert named(compare([first, again], runs[:1], ASKED)) == [(Kind.NOT_BILLED, again.identity)]


def test_a_job_that_was_resized_has_a_row_for_each_size() -> None:
    first = row(seconds=40)
    rest = replace(first, line=2, start=FROM + 40, end=FROM + 100, cpus=4, nodes=1)
    run = run_of(first, span(FROM, FROM + 40, first), span(FROM + 40, FROM + 100, rest))
    assert named(compare([rest, first], [run], ASKED)) == []
    assert named(compare([first], [run], ASKED)) == [
        (kind, first.identity) for kind in (Kind.SECONDS, Kind.CORES, Kind.NODES)
    ]


def test_what_goes_on_is_open_until_slurm_says_that_it_ended() -> None:
    runs = row(seconds=None)
    going = run_of(runs, outcome=None)
    found = compare([runs], [going], ASKED)
    assert (found.differences, [one.identity for one in found.open]) == ((), [runs.identity])
    ended = replace(runs, end=FROM + 60)
    found = compare([ended], [going], ASKED)
    assert (named(found), found.open) == ([(Kind.NOT_FINAL, runs.identity)], ())
    just = replace(ASKED, complete_through=FROM + 60)
    found = compare([ended], [going], just)
    assert (named(found), len(found.open)) == ([], 1)
    assert named(compare([runs], [run_of(runs)], ASKED)) == [(Kind.STILL_RUNS, runs.identity)]


def test_what_started_or_ended_after_slurms_books_were_read_is_left_out_and_counted() -> None:
    asked = replace(ASKED, as_of=FROM + 500)
    before, since = row(start=FROM + 499), row(start=FROM + 500, number=2)
    found = compare([], [run_of(before), run_of(since)], asked)
    assert (named(found), found.newer, found.compared) == ([(Kind.NOT_IN_BOOKS, before.identity)], 1, 1)
    running = row(start=FROM + 400, seconds=None)
    ended, ends = (run_of(running, span(FROM + 400, FROM + end, running)) for end in (499, 500))
    assert named(compare([running], [ended], asked)) == [(Kind.STILL_RUNS, running.identity)]
    found = compare([running], [ends], asked)
    assert (named(found), found.newer, found.compared, found.charged) == ([], 1, 0, Money(0))
    ended_there = row(start=FROM + 400)
    assert named(compare([replace(ended_there, cpus=9)], [run_of(ended_there)], asked)) == [
        (Kind.CORES, ended_there.identity)
    ]


def test_a_run_that_was_suspended_is_not_final_only_if_its_end_has_been_stated() -> None:
    one = row(seconds=5000, suspended=4900)
    going = run_of(one, span(FROM, FROM + 50, one), outcome=None)
    found = compare([one], [going], replace(ASKED, complete_through=FROM + 5000))
    assert (named(found), len(found.open)) == ([], 1)
    assert named(compare([one], [going], replace(ASKED, complete_through=FROM + 5001))) == [
        (Kind.NOT_FINAL, one.identity)
    ]


def test_an_open_run_of_another_shape_is_a_difference() -> None:
    runs = row(seconds=None)
    found = compare([replace(runs, cpus=1)], [run_of(runs, outcome=None)], ASKED)
    assert (named(found), len(found.open)) == ([(Kind.CORES, runs.identity)], 1)


def test_what_started_after_all_that_was_stated_is_open() -> None:
    late = row(start=ASKED.complete_through - 2000)
    asked = replace(ASKED, complete_through=late.start)
    found = compare([late], [], asked)
    assert (found.differences, [one.identity for one in found.open]) == ((), [late.identity])
    assert named(compare([late], [], replace(asked, complete_through=late.start + 1))) == [
        (Kind.NOT_BILLED, late.identity)
    ]


@pytest.mark.parametrize("start", [FROM - 100, TO, FROM - 5000])
def test_a_run_outside_of_what_was_asked_for_is_not_compared(start: int) -> None:
    one = row(start=start)
    found = compare([replace(one, cpus=1)], [run_of(one)], ASKED)
    assert (found.differences, found.compared) == ((), 0)
    assert compare([one], [], ASKED).compared == 0
    assert compare([], [run_of(one)], ASKED).compared == 0


@pytest.mark.parametrize("start", [FROM - 99, TO - 1])
def test_a_run_over_an_edge_is_compared_whole(start: int) -> None:
    one = row(start=start)
    assert named(compare([one], [run_of(one)], ASKED)) == []
    assert named(compare([replace(one, end=start + 101)], [run_of(one)], ASKED)) == [(Kind.SECONDS, one.identity)]
    assert named(compare([one], [], ASKED)) == [(Kind.NOT_BILLED, one.identity)]
    assert named(compare([], [run_of(one)], ASKED)) == [(Kind.NOT_IN_BOOKS, one.identity)]


def test_suspension_over_an_edge_makes_no_difference() -> None:
    one = row(start=FROM - 100, seconds=120, suspended=60)
    run = run_of(one, span(FROM - 100, FROM - 50, one), span(FROM + 10, FROM + 20, one))
    assert named(compare([one], [run], ASKED)) == []
    assert named(compare([], [run], ASKED)) == [(Kind.NOT_IN_BOOKS, one.identity)]


def test_rows_of_ours_without_a_run_are_told_so_that_it_can_be_looked_for_earlier() -> None:
    ours, known, foreign, before = row(), row(number=2), row(number=3, name="melt"), row(number=4, start=FROM - 900)
    found = comparing.unmatched(read([ours, known, foreign, before]), [run_of(known)], ASKED)
    assert found == read([ours])


def test_a_name_is_ours_only_if_it_is_an_attempts() -> None:
    names = ["f" * 32, ids.bare(ids.new("att")).upper(), ids.bare(ids.new("att")) + "0", "", "019f-melt"]
    rows = [row(number=number, name=name) for number, name in enumerate(names, 1)]
    assert named(compare(rows, [], ASKED)) == []


def test_differences_stand_in_one_order() -> None:
    rows = [row(number=number) for number in range(9)]
    found = compare(rows, [], ASKED)
    assert [identity for _, identity in named(found)] == [one.identity for one in rows]
    assert compare(rows[::-1], [], ASKED) == found


def test_a_comment_says_whose_a_job_is_where_several_sites_use_one_cluster() -> None:
    name = "a|b"
    rows = [
        row(number=number, comment=f"caravan {site} 0 {JOB}: {name}")
        for number, site in enumerate((SITE, ids.new("sit")), 1)
    ]
    assert named(compare(rows, [], ASKED)) == [(Kind.NOT_BILLED, rows[0].identity)]
    assert named(compare([replace(rows[1], comment="nice")], [], ASKED)) == [(Kind.NOT_BILLED, rows[1].identity)]
    cut = replace(rows[0], comment=f"caravan {SITE} 0 {JOB}: a", name=f"b|{rows[0].name}")
    assert named(compare([cut], [], ASKED)) == [(Kind.NOT_BILLED, cut.identity)]


def test_what_the_adapter_submits_is_known_by_its_comment() -> None:
    assert is_of_site(SITE, ids.bare(ids.new("att")), mark(SITE))
    assert not is_of_site(SITE, ids.bare(ids.new("att")), mark(ids.new("sit")))


SHAPES = st.tuples(
    st.integers(FROM - 500, TO + 500),
    st.integers(1, 1000),
    st.integers(1, 8),
    st.integers(1, 128),
    st.integers(0, 10**6),
    st.integers(0, 8),
    st.booleans(),
)


@st.composite
def books(draw: st.DrawFn) -> tuple[list[Allocation], list[SiteRun]]:
    """Two sides that agree, with strangers and doubled rows on Slurm's."""
    rows, runs = [], []
    for number, (start, seconds, nodes, cpus, memory, cards, foreign) in enumerate(
        draw(st.lists(SHAPES, max_size=8)), 1
    ):
        one = row(start, seconds, number, nodes=nodes, cpus=cpus, memory_mib=memory)
        one = replace(one, accelerators=(("gpu:h100", cards),) if cards else ())
        if foreign:
            rows.append(replace(one, name="melt"))
            continue
        rows += [one, replace(one, line=100 + number)][: draw(st.integers(1, 2))]
        gap = draw(st.integers(0, 50)) if seconds > 1 else 0
        middle, end = start + seconds // 2, start + seconds
        spans = [span(start, end, one)] if not gap else [span(start, middle, one), span(middle + gap, end + gap, one)]
        runs.append(run_of(one, *spans))
    return rows, runs


def touches(one: Allocation) -> bool:
    assert one.end is not None
    return one.start < TO and one.end > FROM


@given(books(), st.randoms(use_true_random=False))
def test_two_that_agree_do_so_in_any_order(both: tuple[list[Allocation], list[SiteRun]], random: Random) -> None:
    rows, runs = both
    found = compare(rows, runs, ASKED)
    assert found.differences == ()
    mixed_rows, mixed_runs = list(rows), list(runs)
    random.shuffle(mixed_rows)
    random.shuffle(mixed_runs)
    assert compare(mixed_rows, mixed_runs, ASKED) == found


@given(books(), st.data())
def test_one_change_is_one_difference_that_names_it_in_any_order(
    both: tuple[list[Allocation], list[SiteRun]], data: st.DataObject
) -> None:
    rows, runs = both
    ours = [one for one in rows if one.name != "melt" and touches(one)]
    assume(ours)
    chosen = data.draw(st.sampled_from(ours))
    without = [one for one in rows if one.identity != chosen.identity]
    longer = [replace(one, end=one.end + 1) if one.identity == chosen.identity and one.end else one for one in rows]
    stranger = replace(chosen, identity="qin:999:1")
    unbilled = [run for run in runs if run.identity != chosen.identity]
    for changed_rows, changed_runs, expected in (
        (without, runs, (Kind.NOT_IN_BOOKS, chosen.identity)),
        (longer, runs, (Kind.SECONDS, chosen.identity)),
        ([*rows, stranger], runs, (Kind.NOT_BILLED, "qin:999:1")),
        (rows, unbilled, (Kind.NOT_BILLED, chosen.identity)),
        ([*without, stranger], unbilled, (Kind.NOT_BILLED, "qin:999:1")),
    ):
        found = compare(changed_rows, changed_runs, ASKED)
        assert named(found) == [expected]
        assert compare(data.draw(st.permutations(changed_rows)), changed_runs[::-1], ASKED) == found
