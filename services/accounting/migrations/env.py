"""What Alembic runs for accounting's migrations."""

from caravan.kernel.migrations import run_env
from services.accounting.models import metadata

run_env(metadata)
