"""What finance and the centres do over the year: money, tax and fees at first; then closes, corrections, contests and credit notes."""

import asyncio
from datetime import datetime
from random import Random
from typing import Any, Final

from bench.city.prices import BEGINS
from bench.city.telling import LIST_PAGE, Asking
from bench.city.town import Mistake, Town
from bench.city.year import month, written
from caravan.contracts.tax import PLATFORM
from caravan.kernel.clock import to_seconds
from caravan.kernel.money import Money

PROPOSES, DECIDES = "finance-one", "finance-two"
WAIT_SECONDS: Final = 1800
CONTESTED: Final = 4
"""Runs a month; all but each fourth of them are upheld."""
PARTS: Final = ((7,), (3, 1), (1,))
"""Of one line a seventh is given back; of one a third, and then all that is left; of one all."""
RULES: Final = (
    (0, "taxed", 600, 0, None),
    (0, "taxed", 300, 6, None),
    (1, "exempt", None, 0, None),
    (2, "not_taxable", None, 0, None),
    (2, "taxed", 600, 8, None),
    (4, "taxed", 900, 0, None),
    (4, "taxed", 100, 3, 5),
    (5, "taxed", 1300, 1, None),
    (5, "taxed", 0, 1, None),
)
"""(centre, treatment, rate, from which month, to which). One centre has none."""
RESELLER_RULES: Final = ((0, "taxed", 600, 0, None), (0, "taxed", 0, 8, 10), (1, "exempt", None, 0, None))
"""The same of resellers."""
FEES: Final = (
    (0, 500, 1000, 0),
    (0, 750, 0, 7),
    (1, 0, 100_000, 0),
    (2, 1000, 0, 2),
    (3, 333, 100, 0),
    (4, 10_000, 0, 0),
)
"""(centre, rate, floor in fen, from which month). One centre has none, and one keeps nothing."""


class Finance:
    def __init__(self, asking: Asking, town: Town, random: Random) -> None:
        self._asking, self._town, self._random = asking, town, random

    async def open(self) -> None:
        """Credit for all, money of some, and how what each sells is taxed."""
        buyers = self._town.buyers
        limit = {"amount": "10000000000.00"}
        await self._asking.tell_all(
            "set_credit_limit", PROPOSES, [(limit, {"organization": buyer.id}) for buyer in buyers]
        )
        await self._asking.tell_all(
            "record_deposit",
            PROPOSES,
            [(self._deposit(buyer.id), {}) for number, buyer in enumerate(buyers) if number % 3],
        )
        starts = written(to_seconds(BEGINS))
        platform = {
            "seller": PLATFORM,
            "category": "platform_service",
            "treatment": "taxed",
            "rate": 600,
            "starts_at": starts,
        }
        await self._asking.tell("post_tax_rule", PROPOSES, platform)
        providers = list(dict.fromkeys(self._town.sites.values()))
        resellers = [one.agreement.reseller for one in self._town.resold]
        rules = [(providers[centre], *terms) for centre, *terms in RULES]
        rules += [(resellers[number], *terms) for number, *terms in RESELLER_RULES]
        for seller, treatment, rate, first, end in rules:
            rule = {
                "seller": seller,
                "category": "compute_service",
                "treatment": treatment,
                "rate": rate,
                "starts_at": written(to_seconds(month(first))),
                "ends_at": None if end is None else written(to_seconds(month(end))),
            }
            await self._asking.tell("post_tax_rule", PROPOSES, rule)
        for centre, rate, floor, first in FEES:
            agreement = {
                "provider": providers[centre],
                "rate": rate,
                "floor": str(Money(floor)),
                "starts_at": written(to_seconds(month(first))),
            }
            await self._asking.tell("make_fee_agreement", PROPOSES, agreement)

    def _deposit(self, organization: str) -> dict[str, str]:
        amount = Money(self._random.randint(1, 200_000_000))
        return {"organization": organization, "amount": str(amount), "reference": organization}

    async def close(self, starts: datetime) -> str:
        """Returns the period's id."""
        (period,) = [
            one["id"] async for one in self._asking.each("/periods") if one["starts_at"] == written(to_seconds(starts))
        ]
        await self._asking.tell("close_period", PROPOSES, period=period)
        await self._until(f"/periods/{period}", "closed")
        return str(period)

    async def correct(self, mistake: Mistake) -> None:
        draft = {
            "offering": mistake.sold.id,
            "starts_at": written(to_seconds(mistake.starts)),
            "ends_at": written(to_seconds(mistake.ends)),
            "price_list": mistake.right.id,
            "replaces": "all" if mistake.replaces is None else list(mistake.replaces),
            "reason": "价格发布有误 wrong prices were published",
        }
        found = await self._asking.tell("propose_price_correction", PROPOSES, draft)
        correction = found["id"]
        await self._until(f"/price-corrections/{correction}", "proposed")
        await self._asking.tell("approve_price_correction", DECIDES, correction=correction)
        await self._until(f"/price-corrections/{correction}", "applied")

    async def contest(self, contestable: list[tuple[str, str]]) -> None:
        """Centres contest some of their runs, and finance decides."""
        for number, (run, provider) in enumerate(self._random.sample(contestable, min(CONTESTED, len(contestable)))):
            made = await self._asking.tell(
                "contest_run", provider, {"run": run, "reason": "作业自身出错 the job's own fault"}
            )
            decision = {"decision": "dismiss" if number == CONTESTED - 1 else "uphold", "words": "已核实 looked into"}
            await self._asking.tell("decide_contest", DECIDES, decision, contest=made["id"])

    async def give_back(self, period: str) -> None:
        """Of some lines of a closed period: of one all, of one all in two parts, of one a part."""
        of_organizations = [
            one
            async for one in self._asking.each("/statements", period=period)
            if one["party"] == "organization" and _fen(one["gross"]) > 0
        ]
        statements = self._random.sample(of_organizations, len(of_organizations))
        parts = [*PARTS]
        while parts and statements:
            statement = statements.pop()
            lines = (await self._asking.look(f"/statements/{statement['id']}/lines", limit=LIST_PAGE))["items"]
            found = [one["line"] for one in lines if _is_creditable(one["line"], _fen(statement["gross"]))]
            if not found:
                continue
            line = self._random.choice(found)
            left, shares = _fen(line["amount"]), parts.pop()
            for share in shares:
                fen = 1 + (left - 1) // share
                left -= fen
                note = {
                    "statement": statement["id"],
                    "line": line["id"],
                    "amount": str(Money(fen)),
                    "reason": "协商减免 agreed",
                }
                await self._asking.tell("issue_credit_note", PROPOSES, note)

    async def _until(self, path: str, state: str) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            found = await self._asking.look(path)
            while found["state"] != state:
                await asyncio.sleep(0.05)
                found = await self._asking.look(path)


def _fen(money: str) -> int:
    return Money.parse(money).fen


def _is_creditable(line: Any, gross: int) -> bool:
    """Whether it may be given back whole as its period has just closed: a line of usage that corrects nothing."""
    usage = line["kind"] == "usage" and line["bearer"] == "organization" and line["corrects"] is None
    return usage and 10 <= _fen(line["amount"]) <= gross
