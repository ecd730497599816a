"""Statements of the paths that every submission takes: made once, and on SQLite handed to the driver as text.

    _OF_JOB: Final = Prepared(select(holds).where(holds.c.job == bindparam("of_job")))
    ...
    hold = _OF_JOB.first(tx, of_job=job)

A `Prepared` means what `tx.execute(statement, values)` means, also for types, pending changes of the session and errors; it costs a
tenth of it where SQLite answers in microseconds. No parameter may expand (`IN` a list). On PostgreSQL it is `tx.execute`.
"""

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from sqlalchemy import CursorResult, Dialect, Select, UpdateBase
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from caravan.kernel.database import is_sqlite
from caravan.kernel.sqlite import SqliteSession

Fetched: TypeAlias = Any
"""A row: its columns are attributes."""
_Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Compiled:
    """SQLite's text of a statement. `places`: for each `?` its parameter, how its value is converted, and its default."""

    text: str
    places: tuple[tuple[str, _Convert | None], ...]
    fixed: Mapping[str, Any]
    row: Callable[[Sequence[Any]], Any]
    converted: tuple[tuple[int, _Convert], ...]

    def parameters(self, values: Mapping[str, Any]) -> list[Any]:
        given = {**self.fixed, **values} if self.fixed else values
        return [given[name] if convert is None else convert(given[name]) for name, convert in self.places]

    def record(self, fetched: Sequence[Any]) -> Any:
        if self.converted:
            fetched = list(fetched)
            for place, convert in self.converted:
                fetched[place] = convert(fetched[place])
        return self.row(fetched)


class Prepared:
    """A SELECT, INSERT, UPDATE or DELETE; what one of the others returns (RETURNING) is read like what is selected."""

    def __init__(self, statement: Select[*tuple[Any, ...]] | UpdateBase) -> None:
        self._statement = statement
        self._compiled: dict[tuple[str, ...], _Compiled] = {}

    def all(self, tx: Session, /, **values: Any) -> Sequence[Fetched]:
        """The rows."""
        if not isinstance(tx, SqliteSession):
            return tx.execute(self._statement, values).all()
        compiled, cursor = self._execute(tx, values)
        return [compiled.record(fetched) for fetched in cursor.fetchall()]

    def first(self, tx: Session, /, **values: Any) -> Fetched | None:
        """The first row, or None."""
        if not isinstance(tx, SqliteSession):
            return tx.execute(self._statement, values).first()
        compiled, cursor = self._execute(tx, values)
        fetched = cursor.fetchone()
        cursor.close()
        return None if fetched is None else compiled.record(fetched)

    def one(self, tx: Session, /, **values: Any) -> Fetched:
        """The row that is there. Raises LookupError when there is none."""
        found = self.first(tx, **values)
        if found is None:
            raise LookupError(f"no row for {values}")
        return found

    def run(self, tx: Session, /, **values: Any) -> int:
        """Change something. Returns how many rows were met."""
        if not isinstance(tx, SqliteSession):
            return cast("CursorResult[Any]", tx.execute(self._statement, values)).rowcount
        return self._execute(tx, values)[1].rowcount

    def run_each(self, tx: Session, many: Sequence[Mapping[str, Any]]) -> None:
        """Insert many rows, which all have the same columns, or change one for each of many values."""
        if not isinstance(tx, SqliteSession):
            tx.execute(self._statement, many)
            return
        compiled = self._ready(tx, many[0])
        try:
            tx.driver.executemany(compiled.text, map(compiled.parameters, many))
        except sqlite3.Error as error:
            raise DBAPIError.instance(compiled.text, None, error, sqlite3.Error) from error

    def _execute(self, tx: SqliteSession, values: Mapping[str, Any]) -> tuple[_Compiled, sqlite3.Cursor]:
        compiled = self._ready(tx, values)
        try:
            return compiled, tx.driver.execute(compiled.text, compiled.parameters(values))
        except sqlite3.Error as error:
            raise DBAPIError.instance(compiled.text, None, error, sqlite3.Error) from error

    def _ready(self, tx: SqliteSession, values: Mapping[str, Any]) -> _Compiled:
        """The text for the parameters given: an INSERT names just those columns. What the session has pending goes first."""
        if tx.autoflush:
            tx.flush()
        names = tuple(values)
        compiled = self._compiled.get(names)
        if compiled is None:
            compiled = self._compiled[names] = _compile(self._statement, names, tx.get_bind().dialect)
        return compiled


class Upsert:
    """An `INSERT … ON CONFLICT`, which each engine has words of its own for: `make` writes it with the one's `insert` or the other's."""

    def __init__(self, make: Callable[[Any], UpdateBase]) -> None:
        self._sqlite, self._postgresql = Prepared(make(sqlite.insert)), Prepared(make(postgresql.insert))

    def run(self, tx: Session, /, **values: Any) -> int:
        """Insert a row, or do what is to be done where there is one. Returns how many rows were met."""
        return (self._sqlite if is_sqlite(tx) else self._postgresql).run(tx, **values)


def _compile(statement: Select[*tuple[Any, ...]] | UpdateBase, names: Sequence[str], dialect: Dialect) -> _Compiled:
    compiled: Any = statement.compile(dialect=dialect, column_keys=list(names))
    types = {name: bind.type.dialect_impl(dialect) for name, bind in compiled.binds.items()}
    columns = list(statement.exported_columns)
    fetched = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
    return _Compiled(
        text=str(compiled),
        places=tuple((name, types[name].bind_processor(dialect)) for name in compiled.positiontup or ()),
        fixed={n: bind.effective_value for n, bind in compiled.binds.items() if n not in names and not bind.required},
        row=cast(Any, namedtuple("Row", [column.key for column in columns]))._make,  # type: ignore[misc]
        converted=tuple((place, convert) for place, convert in enumerate(fetched) if convert is not None),
    )
