"""All tables of the broker, for its migrations."""

from services.broker.dispatch import models as dispatch
from services.broker.jobs import models as jobs
from services.broker.models_base import Base
from services.broker.placement import models as placement

metadata = Base.metadata
__all__ = ["dispatch", "jobs", "metadata", "placement"]
