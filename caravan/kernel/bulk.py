"""Statements over many rows at once, which cost little more than over one: what a batch of events changes goes by a few of them.

    _LINES: Final = SelectMany({"job": LINES.c.job.type}, lambda given: select(LINES).join(given, LINES.c.job == given.c.job))
    _CHANGE: Final = ChangeMany(
        {"line": LINES.c.id.type, "now": LINES.c.quantity.type},
        lambda given: update(LINES).where(LINES.c.id == given.line).values(quantity=given.now),
    )
    ...
    rows = _LINES.all(tx, [{"job": job} for job in jobs])

Each row is a mapping, and all have the same names. PostgreSQL gets the rows as one array for each name, SQLite as JSON where they are
looked up and one by one, without a way through SQLAlchemy, where they are written. No rows: nothing is asked or done.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    Delete,
    FromClause,
    Insert,
    Select,
    Table,
    Update,
    bindparam,
    column,
    func,
    select,
    type_coerce,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from caravan.kernel.database import is_sqlite
from caravan.kernel.prepared import Fetched, Prepared

Types = Mapping[str, TypeEngine[Any]]
Rows = Sequence[Mapping[str, Any]]
_ROWS: Final = "rows"


class SelectMany:
    """Reads what belongs to some keys, text or integers. `make` joins them: `given.c` has a column for each of `types`."""

    def __init__(self, types: Types, make: Callable[[FromClause], Select[Any]]) -> None:
        self._names = tuple(types)
        self._sqlite, self._postgresql = Prepared(make(_listed(types))), make(_arrays(types))

    def all(self, tx: Session, keys: Rows) -> Sequence[Fetched]:
        """The rows. A key that is given twice finds its rows twice."""
        if not keys:
            return ()
        if is_sqlite(tx):
            return self._sqlite.all(tx, rows=json.dumps([[key[name] for name in self._names] for key in keys]))
        return tx.execute(self._postgresql, _turned(self._names, keys)).all()


class ChangeMany:
    """Updates or deletes by keys, each of which is given once. `make` is told the values of a row: `given` has an attribute for each."""

    def __init__(self, types: Types, make: Callable[[Any], Update | Delete]) -> None:
        self._names = tuple(types)
        given = {name: bindparam(_given(name), type_=type_) for name, type_ in types.items()}
        self._sqlite = Prepared(make(SimpleNamespace(**given)))
        self._postgresql = make(_arrays(types).c)

    def run(self, tx: Session, rows: Rows) -> None:
        if not rows:
            return
        if is_sqlite(tx):
            self._sqlite.run_each(tx, [{_given(name): row[name] for name in self._names} for row in rows])
        else:
            tx.execute(self._postgresql, _turned(self._names, rows))


class InsertMany:
    """Inserts rows, which all have the same columns. `conflict`: what becomes of one that is there already; then none is given twice."""

    def __init__(self, table: Table, conflict: Callable[[Any], Insert] = lambda new: new) -> None:
        self._table = table
        self._conflict = conflict
        self._sqlite = Prepared(conflict(sqlite.insert(table)))
        self._postgresql: dict[tuple[str, ...], Insert] = {}

    def run(self, tx: Session, rows: Rows) -> None:
        if not rows:
            return
        if is_sqlite(tx):
            self._sqlite.run_each(tx, rows)
            return
        names = tuple(rows[0])
        if names not in self._postgresql:
            given = _arrays({name: self._table.c[name].type for name in names})
            new = postgresql.insert(self._table).from_select(names, select(*given.c), include_defaults=False)
            self._postgresql[names] = self._conflict(new)
        tx.execute(self._postgresql[names], _turned(names, rows))


def _arrays(types: Types) -> FromClause:
    """PostgreSQL's rows: an array for each column."""
    arrays = [bindparam(_given(name), type_=ARRAY(type_, dimensions=1)) for name, type_ in types.items()]
    columns = [column(name, type_) for name, type_ in types.items()]
    return func.unnest(*arrays).table_valued(*columns, name="given").render_derived()


def _listed(types: Types) -> FromClause:
    """SQLite's keys: one JSON text, a list of lists."""
    each = func.json_each(bindparam(_ROWS)).table_valued("value")
    columns = [
        type_coerce(func.json_extract(each.c.value, f"$[{place}]"), type_).label(name)
        for place, (name, type_) in enumerate(types.items())
    ]
    return select(*columns).select_from(each).subquery("given")


def _turned(names: Sequence[str], rows: Rows) -> dict[str, list[Any]]:
    return {_given(name): [row[name] for row in rows] for name in names}


def _given(name: str) -> str:
    """A parameter's name, which must not be that of a column that is changed."""
    return f"given_{name}"
