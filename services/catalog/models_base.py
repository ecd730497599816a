"""What the catalog's tables share."""

from datetime import datetime

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from caravan.kernel.database import Instant, metadata
from caravan.kernel.tables import include


class Base(DeclarativeBase):
    """The catalog's metadata: its own tables and the kernel's."""

    metadata = metadata()


include(Base.metadata)


class Entity:
    """The columns of every entity that changes. `version` grows by 1 at each change; it is the ETag."""

    id: Mapped[str] = mapped_column(primary_key=True, sort_order=-1)
    version: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(Instant)
