"""What the platform says of a city in the end, by its public API, as `README.md` has it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from bench.city.telling import Asking
from bench.city.town import Town


async def write_claims(asking: Asking, town: Town, folder: Path) -> dict[str, int]:
    """Returns how many of each there are."""
    lists = {
        "periods": asking.each("/periods"),
        "lines": asking.each("/lines"),
        "statements": asking.each("/statements"),
        "credit_notes": asking.each("/credit-notes"),
        "corrections": _corrections(asking),
        "contests": asking.each("/contests"),
        "funds": _funds(asking, town),
    }
    counts = {}
    for name, items in lists.items():
        counts[name] = 0
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            async for item in items:
                file.write(json.dumps(item, ensure_ascii=False, separators=(",", ":")) + "\n")
                counts[name] += 1
    balance = await asking.look("/ledger/trial-balance")
    (folder / "trial_balance.json").write_text(json.dumps(balance, ensure_ascii=False), encoding="utf-8")
    return counts


async def _corrections(asking: Asking) -> AsyncIterator[Any]:
    async for one in asking.each("/price-corrections"):
        yield await asking.look(f"/price-corrections/{one['id']}")


async def _funds(asking: Asking, town: Town) -> AsyncIterator[Any]:
    for buyer in town.buyers:
        yield await asking.look(f"/funds/{buyer.id}")
