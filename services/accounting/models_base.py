"""The declarative base of accounting's tables."""

from typing import cast

from sqlalchemy import Table
from sqlalchemy.orm import DeclarativeBase

from caravan.kernel.database import metadata
from caravan.kernel.tables import include


class Base(DeclarativeBase):
    """Accounting's metadata: its own tables and the kernel's."""

    metadata = metadata()


include(Base.metadata)


def table(model: type[Base]) -> Table:
    """The table behind a model, for statements in Core: hot paths build them once, from `table(Model).c`."""
    return cast(Table, model.__table__)
