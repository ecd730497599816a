"""`python -m caravan.cli`: the same as `caravan`."""

from caravan.cli import app

app()
