"""All of the catalog's tables, for migrations."""

from services.catalog.models_base import Base
from services.catalog.parties import models as parties

metadata = Base.metadata
TABLES = (parties,)
