"""The declarative base of accounting's tables."""

from sqlalchemy.orm import DeclarativeBase

from caravan.kernel.database import metadata
from caravan.kernel.tables import include


class Base(DeclarativeBase):
    """Accounting's metadata: its own tables and the kernel's."""

    metadata = metadata()


include(Base.metadata)
