"""What of a year's pool is committed. Never more than the pool has, whoever commits at once."""

from sqlalchemy import ColumnElement, update
from sqlalchemy.orm import Session

from caravan.kernel.database import affected
from services.accounting.programmes.service import POOLS


def commit(tx: Session, programme: str, year: int, fen: int) -> bool:
    """Take it from the pool of the year; False where that has less left, or there is none."""
    fits = POOLS.c.committed + fen <= POOLS.c.amount
    taken = update(POOLS).where(_is(programme, year), fits).values(committed=POOLS.c.committed + fen)
    return affected(tx, taken) == 1


def give_back(tx: Session, programme: str, year: int, fen: int) -> None:
    """The pool has it again."""
    tx.execute(update(POOLS).where(_is(programme, year)).values(committed=POOLS.c.committed - fen))


def _is(programme: str, year: int) -> ColumnElement[bool]:
    return (POOLS.c.programme == programme) & (POOLS.c.year == year)
