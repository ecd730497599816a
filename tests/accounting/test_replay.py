"""The same recorded inputs give the same statements, in whatever legal interleaving they are played again."""

import json
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from bench.charges.history import draw, interleaved
from bench.charges.playing import play
from services.accounting.charging.models import LineRow
from services.accounting.charging.reading import shown as line_shown
from services.accounting.periods.closing import finish
from services.accounting.periods.models import PeriodRow
from services.accounting.statements.models import StatementRow
from services.accounting.statements.service import shown as statement_shown
from services.accounting.usage.models import OrganizationCopy, ProviderCopy
from tests.accounting.examples import examples
from tests.accounting.test_histories import (
    PRICES,
    Books,
    Fact,
    Job,
    Undone,
    histories,
    hold_amounts,
    opened,
    price_list,
    second,
)

Played = list[tuple[Job, Fact]]


@st.composite
def recorded(draw: st.DrawFn) -> list[tuple[list[Fact], int]]:
    """Of two jobs: what the broker says in order, and how much of it comes before the first close."""
    both = [draw(histories()) for _ in range(2)]
    return [(history, draw(st.integers(0, len(history)))) for history in both]


def test_replaying_recorded_inputs_gives_equal_statements(migrated: Callable[[str], str]) -> None:
    with opened(migrated("accounting")) as books:
        prices = price_list(*PRICES)
        named = {"name": "n", "version": 1}
        books.write(lambda tx: tx.execute(insert(OrganizationCopy).values(id=books.organization, **named)) and None)
        books.write(
            lambda tx: tx.execute(insert(ProviderCopy).values(id=books.provider, tax_rate=600, **named)) and None
        )
        jobs = [books.write(books.place_job, prices) for _ in range(2)]

        @examples(6, 1000)
        @given(recorded(), st.lists(hold_amounts, min_size=2, max_size=2), st.randoms(use_true_random=False))
        def check(said: list[tuple[list[Fact], int]], holds: list[int], random: Random) -> None:
            """As recorded, one job after the other; then in another interleaving, and some of it doubled."""
            early = [[(job, fact) for fact in history[:cut]] for job, (history, cut) in zip(jobs, said, strict=True)]
            late = [[(job, fact) for fact in history[cut:]] for job, (history, cut) in zip(jobs, said, strict=True)]
            first = played(books, jobs, holds, [*chain(*early)], [*chain(*late)])
            again = played(books, jobs, holds, merged(random, early), merged(random, late))
            assert again == first

        check()


def merged(random: Random, parts: Sequence[Played]) -> Played:
    """In any order that keeps each job's; some facts come twice."""
    waiting = [list(part) for part in parts if part]
    out: Played = []
    while waiting:
        part = random.choice(waiting)
        out += [part.pop(0)] * random.choice((1, 1, 2))
        waiting = [part for part in waiting if part]
    return out


def played(books: Books, jobs: Sequence[Job], holds: Sequence[int], early: Played, late: Played) -> str:
    """The closed periods' statements and lines after `early`, the close of March, `late`, the close of April."""

    def unit(tx: Session) -> None:
        for job, amount in zip(jobs, holds, strict=True):
            books.hold(tx, job, amount)
        for month, facts in (("2026-03", early), ("2026-04", late)):
            for job, fact in facts:
                job.apply(tx, fact)
            close(tx, month)
        raise Undone(paper(tx))

    with pytest.raises(Undone) as undone:
        books.write(unit)
    return str(undone.value)


def close(tx: Session, month: str) -> None:
    """As if it were over and all usage were there."""
    mine = PeriodRow.month == month
    tx.execute(update(PeriodRow).where(mine).values(state="closing", grace_ends_at=second(0)))
    assert finish(tx, tx.execute(select(PeriodRow.id).where(mine)).scalar_one(), second(86_400 * 60))


def paper(tx: Session) -> str:
    """All statements and lines as text, without what is of the moment: ids, times, and the hash over them."""
    months = {row.id: row.name for row in tx.execute(select(PeriodRow.id, PeriodRow.name))}
    statements = [statement_shown(row).model_dump(mode="json") for row in tx.execute(select(StatementRow.__table__))]
    lines = [line_shown(row).model_dump(mode="json") for row in tx.execute(select(LineRow.__table__))]
    return written(months, statements, lines)


def written(months: dict[str, str], statements: list[dict[str, Any]], lines: list[dict[str, Any]]) -> str:
    for one in (*statements, *lines):
        for name in ("id", "issued_at", "lines_sha256"):
            one.pop(name, None)
        for name in ("period", "corrects"):
            one[name] = months.get(one.get(name) or "")
        if one.get("fee"):
            del one["fee"]["agreement"]
    return "\n".join(sorted(json.dumps(one, sort_keys=True) for one in (*statements, *lines)))


def test_a_service_that_replays_its_recorded_inputs_comes_to_equal_statements(
    migrated: Callable[[str], str], tmp_path: Path
) -> None:
    """The feeds by followers, holds and closes by HTTP; the second time in another interleaving and in other pages."""
    history = draw(5, jobs=6)
    for name, one, seed in (("first", history, 1), ("again", interleaved(history, 2), 3)):
        play(one, tmp_path / name, seed, migrated("accounting"))
    first, again = (exported(tmp_path / name) for name in ("first", "again"))
    assert again == first
    assert "corrects" in first


def exported(folder: Path) -> str:
    periods, statements, lines = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("periods", "statements", "lines")
    )
    assert statements
    return written({one["id"]: one["name"] for one in periods}, statements, lines)
