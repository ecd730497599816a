from caravan.kernel.migrations import run_env
from services.broker.models import metadata

run_env(metadata)
