"""Cost grows with what changed: the hot statements find their rows by an index, and none looks at what has ended."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.orm import Session

from caravan.contracts.jobs import JobState
from caravan.kernel.database import Database, is_sqlite
from services.broker.jobs import store
from services.broker.jobs.loop import BATCH
from tests.broker.conftest import Shop
from tests.broker.hand import Run
from tests.broker.market import Platform

pytestmark = pytest.mark.asyncio(loop_scope="session")
GROWING = (
    "jobs",
    "array_tasks",
    "job_labels",
    "attempts",
    "runs",
    "job_events",
    "placements",
    "quotes",
    "waiting",
    "outbox",
)
"""Tables that keep what has ended, or may grow long."""
Statement = tuple[str, Any]


@contextmanager
def statements(db: Database) -> Iterator[list[Statement]]:
    """What this database is asked meanwhile, each text once."""
    found: dict[str, Any] = {}

    def note(connection: Connection, _: Any, statement: str, parameters: Any, *__: Any) -> None:
        asked = statement.startswith(("SELECT", "UPDATE", "DELETE")) and not isinstance(parameters, list)
        if asked and connection.engine.url.database == db.url.database:
            found.setdefault(statement, parameters)

    kept: list[Statement] = []
    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield kept
    finally:
        event.remove(Engine, "before_cursor_execute", note)
        kept += found.items()


def scans(tx: Session, asked: list[Statement]) -> list[str]:
    """Growing tables that one of these statements would read from end to end, each with the statement."""
    found = []
    connection = tx.connection()
    if not is_sqlite(tx):
        tx.execute(text("SET LOCAL enable_seqscan = off"))
    for statement, parameters in asked:
        if not any(f" {table}" in statement for table in GROWING):
            continue
        how = "EXPLAIN QUERY PLAN " if is_sqlite(tx) else "EXPLAIN "
        for line in connection.exec_driver_sql(how + statement, parameters).all():
            words = str(line[-1])
            whole = words.strip().removeprefix("->").strip().split(" (cost")[0]
            for table in GROWING:
                sqlite_scan = whole.startswith("SCAN ") and "INDEX" not in whole and f"{table}" in whole.split()
                postgres_scan = whole.startswith("Seq Scan on ") and whole.split()[3] == table
                if sqlite_scan or postgres_scan:
                    found.append(f"{words.strip()}: {statement}")
    return found


async def test_a_whole_reading_is_noticed(platform: Platform) -> None:
    for asked in ("SELECT id FROM jobs WHERE detail = 'x'", "SELECT run FROM array_tasks WHERE run = 'x'"):
        assert len(await platform.runtime.db.read(scans, [(asked, ())])) == 1


async def test_no_hot_statement_reads_a_growing_table_from_end_to_end(shop: Shop) -> None:
    customer, hand, db = shop.customer, shop.hand, shop.market.platform.runtime.db
    broker = customer.broker
    done = await customer.submit(labels={"team": "cfd"})
    await hand.play(done)
    with statements(db) as asked:
        running = await customer.submit(cpus=3)
        waiting = await customer.submit(cpus=2)
        await customer.broker.create_quote(customer.spec())
        attempt = await hand.start(running)
        run = Run(attempt)
        await hand.tell(run.running(hand.number), *run.usage())
        await hand.work()
        await hand.everything()
        for read in (
            broker.get_job,
            broker.list_job_tasks,
            broker.list_job_attempts,
            broker.list_job_events,
        ):
            look: Callable[[str], Awaitable[object]] = read
            await look(done.id)
        for filters in (
            {},
            {"state": JobState.RUNNING},
            {"project": customer.project},
            {"project": customer.project, "state": JobState.FAILED},
            {"label": "team=cfd"},
        ):
            wanted: dict[str, Any] = filters
            page = await broker.list_jobs(**wanted, limit=1)
            if page.next:
                await broker.list_jobs(**wanted, limit=1, cursor=page.next)
        await broker.list_quotes()
        await hand.end(attempt, [run])
        await broker.cancel_job(waiting.id)
        await db.read(store.due, BATCH)
    assert len(asked) > 40
    assert await db.read(scans, asked) == []


async def test_a_quiet_pass_is_one_question(shop: Shop) -> None:
    await shop.hand.play(await shop.customer.submit())
    db = shop.market.platform.runtime.db
    with statements(db) as asked:
        jobs, _ = await db.read(store.due, BATCH)
    mine = [statement for statement, _ in asked if "jobs.wake_at" in statement]
    assert len(mine) == 1
    assert jobs == [] or shop.customer.project not in jobs
