"""The broker's declarative base: its own tables and the kernel's."""

from sqlalchemy.orm import DeclarativeBase

from caravan.kernel.database import metadata as named_metadata
from caravan.kernel.tables import include


class Base(DeclarativeBase):
    """Every model of the broker."""

    metadata = named_metadata()


include(Base.metadata)
