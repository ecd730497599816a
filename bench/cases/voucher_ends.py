"""Clawbacks, revocations, expiries, faults, corrections and credit notes: after each, money and caps are what the page says."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

from bench.case import Trial, Verdict, case
from bench.engines import BOTH, SQLITE, engines
from bench.vouchers.books import Compared
from bench.vouchers.ends import HELD, SCENARIOS, wander
from bench.vouchers.scene import Scene
from bench.vouchers.town import opened

LONG: Final = (200, 20)
SHORT: Final = (3, 8)
"""Lives, and steps of each."""
KINDS: Final = (
    "voucher",
    "pool",
    "year",
    "claim",
    "line",
    "redemptions",
    "due",
    "funds",
    "provider",
    "programme",
    "note",
)


@case(
    "voucher-ends",
    claim=f"Clawback, revocation, expiry in a job, a site's fault, a correction of the year before, a credit note; and {LONG[0]} lives of "
    "these in any order, over the end of a year: after each step claims, caps, pools, years, statements, funds and the ledger are what "
    "a model of docs/programmes.md says, on SQLite and on PostgreSQL",
    goal="0 figures differ; the books verified after each step",
)
def voucher_ends(trial: Trial) -> Verdict:
    compared, done = Compared(), Counter[str]()
    count, steps = LONG if trial.long else SHORT
    with engines(trial.folder, BOTH if trial.long else (SQLITE,)) as databases:

        async def live(url: str, life: Callable[[Scene], Awaitable[None]]) -> None:
            random = Random(trial.random.random())
            async with opened(url, trial.folder, random) as town:
                scene = Scene(town, random, compared)
                await scene.begin(HELD)
                await life(scene)

        async def any_(scene: Scene) -> None:
            done.update(await wander(scene, scene.random, steps))

        names = list(databases)
        lives = [(name, scenario, one) for name in names for scenario, one in SCENARIOS.items()]
        lives += [(names[number % len(names)], f"life {number + 1}", any_) for number in range(count)]
        for name, what, life in lives:
            url, before = databases[name].migrated("accounting"), len(compared.wrong)
            asyncio.run(live(url, life))
            databases[name].drop(url)
            trial.say(
                f"{what} on {name}: {sum(compared.counts.values()):,} figures, {len(compared.wrong) - before} differ"
            )
            compared.wrong[before:] = [f"{what} on {name}: {one}" for one in compared.wrong[before:]]
    return Verdict(
        passed=not compared.wrong and all(compared.counts[kind] for kind in KINDS) and sum(done.values()) > 0,
        figure=f"{len(SCENARIOS)} scenarios, {count} lives of {sum(done.values()):,} steps: {sum(compared.counts.values()):,} figures, "
        f"{len(compared.wrong)} differ" + "".join(f"; {one}" for one in compared.wrong[:2]),
        details={"counts": compared.counts, "steps": done, "wrong": compared.wrong[:50]},
    )
