"""What `port.py` promises, over every backend. A task of `#fake` lines and shell does the same for the fake and for a real one."""

import asyncio
from datetime import timedelta

import pytest

from caravan.contracts.jobs import Outcome, RunState
from services.broker.adapters.port import Books, NotSeen, Rejected, booked
from tests.contract.backends import Harness, Site, eventually, every, having

QUICK = "#!/bin/sh\n#fake run=0.05\nexit 0\n"
DAY = timedelta(days=1)
LONG = "#!/bin/sh\n#fake run=600\nexec sleep 600\n"


@every
async def test_inventory_says_what_an_offering_can_be_made_of(site: Site) -> None:
    parts = await site.backend.inventory()
    assert parts
    assert all(part.cpus_per_node >= 1 and part.memory_mib_per_node >= 1 for part in parts)


@every
async def test_a_probe_finds_nothing_wrong_where_all_is_well(site: Site) -> None:
    assert await site.backend.probe() == ()


@every
async def test_what_is_staged_does_not_run_and_is_listed_for_the_sweeper(site: Site) -> None:
    submission = site.harness.submission(QUICK)
    reference = await site.backend.stage(submission)
    seen = await site.seen(reference)
    assert (seen.released, seen.queued, seen.ended, seen.runs) == (False, False, False, ())
    (staged,) = await site.backend.staged()
    assert (staged.tag, staged.reference) == (submission.tag, reference)
    await site.backend.release(reference)
    assert await site.backend.staged() == []
    await site.ended(reference)


@every
async def test_staging_twice_leaves_two_references_and_each_runs_only_by_its_own_release(site: Site) -> None:
    submission = site.harness.submission(QUICK)
    first, second = await site.backend.stage(submission), await site.backend.stage(submission)
    assert first != second
    await site.backend.release(second)
    assert len((await site.ended(second)).runs) == 1
    assert not (await site.seen(first)).released
    assert [one.reference for one in await site.backend.staged()] == [first]


@every
async def test_releasing_again_changes_nothing(site: Site) -> None:
    reference = await site.stage(QUICK)
    await asyncio.gather(*(site.backend.release(reference) for _ in range(4)))
    await site.backend.release(reference)
    before = await site.ended(reference)
    await site.backend.release(reference)
    after = await site.ended(reference)
    assert len(before.runs) == 1
    assert after.runs == before.runs


@every
async def test_what_was_cancelled_while_staged_can_never_be_released(site: Site) -> None:
    reference = await site.stage(QUICK)
    await site.backend.cancel(reference)
    await site.backend.cancel(reference)
    with pytest.raises(Rejected):
        await site.backend.release(reference)
    seen = await site.seen(reference)
    assert (seen.released, seen.ended, seen.runs) == (False, True, ())
    assert await site.backend.staged() == []


@every
async def test_what_was_discarded_is_gone_for_good(site: Site) -> None:
    reference = await site.stage(QUICK)
    await site.backend.discard(reference)
    await site.backend.discard(reference)
    with pytest.raises(Rejected):
        await site.backend.release(reference)
    await site.backend.cancel(reference)
    assert await site.backend.staged() == []
    gone = (await site.backend.observe([reference]))[reference]
    assert isinstance(gone, NotSeen)
    assert gone.provably_gone


@every
async def test_discarding_what_was_released_changes_nothing(site: Site) -> None:
    reference = await site.start(QUICK)
    await site.backend.discard(reference)
    assert (await site.ended(reference)).runs[0].outcome is Outcome.SUCCEEDED


@every
async def test_cancelling_what_runs_ends_it_as_cancelled_and_starts_no_more(site: Site) -> None:
    reference = await site.start(LONG, indices=(1, 2, 3), max_parallel=2)
    await site.running(reference, count=2)
    await site.backend.cancel(reference)
    await site.backend.cancel(reference)
    seen = await site.ended(reference)
    assert [(run.index, run.outcome) for run in seen.runs] == [(1, Outcome.CANCELLED), (2, Outcome.CANCELLED)]


@every
async def test_cancelling_what_has_ended_changes_nothing(site: Site) -> None:
    reference = await site.start(QUICK)
    before = await site.ended(reference)
    await site.backend.cancel(reference)
    assert (await site.ended(reference)).runs == before.runs


@every
@pytest.mark.parametrize(
    ("script", "outcome", "exit_code", "signal"),
    [
        ("#!/bin/sh\n#fake run=0.05\nexit 0\n", Outcome.SUCCEEDED, 0, None),
        ("#!/bin/sh\n#fake run=0.05 exit=3\nexit 3\n", Outcome.USER, 3, None),
        ("#!/bin/sh\n#fake run=0.05 signal=11\nkill -SEGV $$\n", Outcome.USER, None, 11),
    ],
)
async def test_how_a_script_ends_is_told(
    site: Site, script: str, outcome: Outcome, exit_code: int | None, signal: int | None
) -> None:
    run = await site.run(script)
    assert (run.state, run.outcome, run.exit_code, run.signal) == (RunState.ENDED, outcome, exit_code, signal)
    assert run.final


@every
async def test_a_task_over_its_walltime_is_ended_by_the_limit(site: Site) -> None:
    run = await site.run(LONG, walltime_seconds=1)
    assert run.outcome is Outcome.LIMIT
    assert "walltime" in run.detail
    (span,) = run.spans
    assert span.end - span.start <= timedelta(
        seconds=site.harness.submission(LONG, walltime_seconds=1).grant.max_seconds
    )


@every
async def test_an_array_runs_each_index_once_and_never_more_than_its_throttle(site: Site) -> None:
    noticed = site.harness.noticed_seconds
    script = f"#!/bin/sh\n#fake run={noticed}\nsleep {noticed}\n"
    reference = await site.start(script, indices=(7, 1, 30, 4), max_parallel=2)
    most = 0
    while not (seen := await site.seen(reference)).ended:
        most = max(most, sum(run.ended_at is None for run in seen.runs))
        await asyncio.sleep(0.01)
    assert sorted(run.index for run in seen.runs) == [1, 4, 7, 30]
    assert len({run.identity for run in seen.runs}) == 4
    assert most == 2


@every
async def test_usage_is_the_grant_for_whole_seconds_and_stays_within_what_was_seen(site: Site) -> None:
    seconds = max(1.1, site.harness.noticed_seconds)
    script = f"#!/bin/sh\n#fake run={seconds}\nsleep {seconds}\n"
    reference = await site.start(script)
    seen = await site.running(reference)
    while not seen.ended:
        for run in seen.runs:
            for span in run.spans:
                assert run.ended_at is not None or span.end <= seen.seen_at
        seen = await site.seen(reference)
        await asyncio.sleep(0.05)
    (run,) = (await site.ended(reference)).runs
    (span,) = run.spans
    grant = site.harness.submission(script).grant
    assert (span.start, span.end) == (run.started_at, run.ended_at)
    assert (span.nodes, span.cpus, span.memory_mib) == (grant.nodes, grant.cpus, grant.memory_mib)
    assert run.started_at.microsecond == 0
    assert run.final


@having("nodes")
async def test_a_task_of_several_nodes_is_one_run_that_holds_what_all_of_them_do(site: Site) -> None:
    seconds = max(2.1, site.harness.noticed_seconds)
    script = f"#!/bin/sh\n#fake run={seconds}\nsleep {seconds}\n"
    run = await site.run(script, nodes=2)
    grant = site.harness.submission(script, nodes=2).grant
    assert (run.outcome, grant.nodes) == (Outcome.SUCCEEDED, 2)
    for span in run.spans:
        assert (span.cpus * 2, span.memory_mib * 2) == (span.nodes * grant.cpus, span.nodes * grant.memory_mib)
    held = sum((span.end - span.start).total_seconds() * span.nodes for span in run.spans)
    # whole seconds of each node
    assert held >= 2 * (int(seconds) - 1)
    assert (run.spans[0].start, run.spans[-1].end) == (run.started_at, run.ended_at)


@every
async def test_what_is_released_after_the_clock_was_asked_starts_at_or_after_it(site: Site) -> None:
    now = await site.backend.now()
    assert now.microsecond == 0
    run = await site.run(QUICK)
    assert run.started_at >= now


@every
async def test_a_run_without_a_whole_second_in_it_has_no_span(site: Site) -> None:
    run = await site.run(QUICK)
    assert run.ended_at is not None
    assert bool(run.spans) == (run.ended_at > run.started_at)


@every
async def test_observing_after_the_end_always_says_the_same(site: Site) -> None:
    reference = await site.start(QUICK, indices=(0, 1, 2))
    first = await site.ended(reference)
    async with site.harness.open() as another:
        again = Site(site.harness, another)
        assert (await again.ended(reference)).runs == first.runs
    assert (await site.ended(reference)).runs == first.runs


@every
async def test_what_changed_is_told_to_those_who_ask_since_then(site: Site) -> None:
    reference = await site.start(QUICK)
    await site.ended(reference)
    changed = await site.backend.changed(None)
    assert changed is None or reference in changed
    seen_at = (await site.seen(reference)).seen_at
    later = await site.backend.changed(seen_at.timestamp() + 3600)
    assert later is None or reference not in later


@every
async def test_logs_are_read_by_offset_and_from_the_end(site: Site) -> None:
    reference = await site.start('#!/bin/sh\n#fake run=0.05 print=0123456789\necho "0123456789 [0]"\n')
    await site.ended(reference)
    read = site.backend.read_log
    whole = await read(reference, 0, "stdout", 0, 1000)
    assert (whole.data, whole.offset, whole.size, whole.complete) == (b"0123456789 [0]\n", 0, 15, True)
    part = await read(reference, 0, "stdout", 3, 4)
    assert (part.data, part.offset, part.size, part.complete) == (b"3456", 3, 15, False)
    tail = await read(reference, 0, "stdout", -5, 1000)
    assert (tail.data, tail.offset, tail.complete) == (b" [0]\n", 10, True)
    assert (await read(reference, 0, "stdout", -500, 1000)).data == whole.data
    past = await read(reference, 0, "stdout", 500, 1000)
    assert (past.data, past.offset) == (b"", 15)
    assert (await read(reference, 0, "stderr", 0, 1000)).data == b""


@every
async def test_a_log_that_is_not_there_yet_is_not_found(site: Site) -> None:
    reference = await site.stage(QUICK)
    with pytest.raises(FileNotFoundError):
        await site.backend.read_log(reference, 0, "stdout", 0, 10)
    with pytest.raises(FileNotFoundError):
        await site.backend.read_log("../../etc", 0, "stdout", 0, 10)


@every
async def test_what_is_forgotten_leaves_its_output(site: Site) -> None:
    reference = await site.start("#!/bin/sh\n#fake run=0.05 print=kept\necho kept\n")
    await site.ended(reference)
    await site.backend.forget(reference)
    await site.backend.forget(reference)
    assert "kept" in await site.text(reference)
    assert reference not in (await site.backend.changed(None) or [])
    assert isinstance((await site.backend.observe([reference]))[reference], NotSeen)
    with pytest.raises(Rejected):
        await site.backend.release(reference)


@every
async def test_the_books_have_what_was_seen_also_of_what_goes_on_or_was_forgotten(site: Site) -> None:
    before = await site.backend.now()
    over = await site.start("#!/bin/sh\n#fake run=2.2\nsleep 2.2\n")
    (run,) = (await site.ended(over)).runs
    on = await site.start(LONG)
    going = (await site.running(on)).runs[0]

    async def books() -> Books | None:
        found = await site.backend.books(before, await site.backend.now())
        return found if {run.identity, going.identity} <= {row.identity for row in found.runs} else None

    async def known() -> Books:
        found = await eventually(books, "both are in the books", site.harness.deadline_seconds)
        assert isinstance(found, Books)
        return found

    found = await known()
    rows = {row.identity: row for row in found.runs}
    (span,) = run.spans
    assert rows[run.identity] == booked(run, span.start, span.end)[0]
    assert (rows[run.identity].end, rows[going.identity].end) == (span.end, None)
    for start, end in ((before - DAY, before), (span.end, span.end + timedelta(seconds=1))):
        assert run.identity not in {row.identity for row in (await site.backend.books(start, end)).runs}
    await site.backend.forget(over)
    if found.keeps_all:
        assert {row.identity: row for row in (await known()).runs}[run.identity] == rows[run.identity]


@every
async def test_what_was_never_there_is_provably_gone(site: Site) -> None:
    seen = await site.backend.observe(["nothing-1", "../nothing"])
    assert all(isinstance(one, NotSeen) and one.provably_gone for one in seen.values())
    await site.backend.cancel("nothing-1")
    await site.backend.discard("nothing-1")
    with pytest.raises(Rejected):
        await site.backend.release("nothing-1")


@every
async def test_more_than_the_site_has_is_rejected(harness: Harness, site: Site) -> None:
    parts = await site.backend.inventory()
    submission = harness.submission(QUICK)
    grant = submission.grant.model_copy(update={"cpus": sum(part.cpus_per_node * part.nodes for part in parts) + 1})
    with pytest.raises(Rejected):
        await site.backend.stage(submission.model_copy(update={"grant": grant}))
