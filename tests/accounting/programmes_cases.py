"""Programmes to try rules on."""

from typing import Any

from caravan.contracts.programmes import ProgrammeDraft

YEAR = {"starts_at": "2026-01-01T00:00:00+08:00", "ends_at": "2027-01-01T00:00:00+08:00"}


def programme(**changes: Any) -> ProgrammeDraft:
    """Pays 30 % of everything from a pool of 100 million yuan, where nothing else is said."""
    plain = {
        "name": "算力券",
        "issuer": {"name": "市科技局", "level": "city"},
        "pools": [{"year": 2026, "amount": "100000000.00"}],
        "rates": [{"rate": 3000}],
    }
    return ProgrammeDraft.model_validate(plain | YEAR | changes)
