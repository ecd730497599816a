"""The declarative base of accounting's tables."""

from caravan.kernel.database import base
from caravan.kernel.tables import include

Base = base()
include(Base.metadata)
