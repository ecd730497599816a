"""All of the catalog's tables, for migrations."""

from services.catalog.calendars import models as calendars
from services.catalog.models_base import Base
from services.catalog.offerings import models as offerings
from services.catalog.parties import models as parties
from services.catalog.prices import models as prices
from services.catalog.resale import models as resale
from services.catalog.sites import models as sites

metadata = Base.metadata
__all__ = ["calendars", "metadata", "offerings", "parties", "prices", "resale", "sites"]
