"""What the columns keep: times and JSON, the same on both engines."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Table, insert, select
from sqlalchemy.orm import Session

from caravan.kernel import migrations
from caravan.kernel.database import Database, Instant, Json

_types = MetaData()
_kept = Table("kept", _types, Column("id", Integer, primary_key=True), Column("at", Instant), Column("json", Json))
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


async def test_times_and_json_come_back_as_they_went(db: Database, database_url: str) -> None:
    await asyncio.to_thread(migrations.on_connection, database_url, _types.create_all)
    wanted: list[tuple[datetime | None, Any]] = []

    @given(st.none() | st.datetimes(timezones=st.just(UTC)), _json)
    def examples(at: datetime | None, json: Any) -> None:
        wanted.append((at, json))

    def there_and_back(tx: Session) -> list[tuple[datetime | None, Any]]:
        tx.execute(insert(_kept), [{"id": n, "at": at, "json": json} for n, (at, json) in enumerate(wanted)])
        return [(row.at, row.json) for row in tx.execute(select(_kept).order_by(_kept.c.id))]

    examples()
    assert await db.write(there_and_back) == wanted
