"""What vouchers pay doesn't hang on the order in which anything comes, nor on who comes at once."""

import asyncio
from collections import Counter
from random import Random
from typing import Final

from bench.case import Trial, Verdict, case
from bench.engines import BOTH, SQLITE, engines
from bench.independent import vouchers as independent
from bench.vouchers import quarter
from bench.vouchers.books import Compared, Totals, compare, totals
from bench.vouchers.town import opened

ORDERS, SHORT_ORDERS = 100, 3
BOUND: Final = ("floor", "cap", "together", "discount", "earlier")


@case(
    "voucher-totals",
    claim=f"A quarter of {len(quarter.HELD)} enterprises with vouchers of {len(quarter.PROGRAMMES)} programmes, told in {ORDERS} orders "
    "(shuffled, doubled, cut, restated) and closed in three to six steps: the same totals by programme, enterprise, voucher, span, funder "
    "and month, and on each line, claim and statement what an independent script computes",
    goal="1 set of totals; 0 figures differ; floors, caps, two levels together, discounts and earlier months take part in each order",
)
def voucher_totals(trial: Trial) -> Verdict:
    compared, found = Compared(), list[Totals]()
    bound = Counter[str]()
    with engines(trial.folder, BOTH if trial.long else (SQLITE,)) as databases:
        kinds = list(databases.items())
        count = ORDERS if trial.long else SHORT_ORDERS
        for number in range(count):
            name, engine = kinds[number % len(kinds)]
            url = engine.migrated("accounting")
            steps = len(quarter.MONTHS) + number // len(kinds) % (quarter.MOST_STEPS - len(quarter.MONTHS) + 1)
            asyncio.run(_ordered(trial, url, steps, compared, found, bound))
            engine.drop(url)
            trial.say(
                f"{number + 1} of {count} on {name}, {steps} closes: {sum(compared.counts.values())} figures, {len(compared.wrong)} differ"
            )
    sets = [one for place, one in enumerate(found) if one not in found[:place]]
    return Verdict(
        passed=not compared.wrong and len(sets) == 1 and all(bound[what] == count for what in BOUND),
        figure=f"{count} orders: {len(sets)} set of totals, {sum(compared.counts.values()):,} figures, {len(compared.wrong)} differ; "
        + ", ".join(f"{what} in {bound[what]}" for what in BOUND)
        + "".join(f"; {one}" for one in compared.wrong[:2]),
        details={"counts": compared.counts, "wrong": compared.wrong[:50], "totals": sets},
    )


async def _ordered(
    trial: Trial, url: str, steps: int, compared: Compared, found: list[Totals], bound: Counter[str]
) -> None:
    random = Random(trial.random.random())
    drawn = quarter.draw(Random(trial.seed))
    async with opened(url, trial.folder, random) as town:
        facts = await quarter.play(town, random, drawn, steps)
        right = await compare(town, facts, compared)
        found.append(await totals(town, facts))
    bound.update(_bound(right))


def _bound(right: independent.Paid) -> set[str]:
    """Which rules have cut something, or taken part."""
    vouchers = Counter(line for (line, _), fen in right.lines.items() if fen)
    found = {
        "floor": any(full > 0 and not right.claims[claim] for claim, full in right.full.items()),
        "cap": any(0 < right.claims[claim] < full for claim, full in right.full.items()),
        "together": any(count > 1 for count in vouchers.values()),
        "discount": any(right.discounted.values()),
        "earlier": any(right.earlier.values()),
    }
    return {what for what, has in found.items() if has}
