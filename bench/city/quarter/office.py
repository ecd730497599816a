"""The office of the city: asks what drafts would have paid, or publishes one and issues a voucher of it to every organization."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from bench.city.quarter.drafts import DRAFTS, issued_for, limited, unlimited
from bench.city.telling import Asking
from bench.city.town import Town
from caravan.kernel.money import Money

OFFICE: Final = "office"
REVIEWERS: Final = ("office-reviews", "office-reviews-again")
AT_ONCE: Final = 10


class Office:
    def __init__(self, asking: Asking, town: Town) -> None:
        self._asking = asking
        self._organizations = [buyer.id for buyer in town.buyers]

    async def draft(self, name: str, periods: Sequence[str]) -> dict[str, Any]:
        """The `terms` of the draft `name`, with limits that bind in these periods, and its Preview of them: the `quarter`'s."""
        free = await self._previewed(name, unlimited(name), periods)
        totals = [_fen(one["claimed"]) for one in free["organizations"]]
        claims = [_fen(claim["claimed"]) for one in free["organizations"] for claim in one["claims"]]
        terms = limited(name, totals, claims)
        return {"terms": terms, "quarter": await self._previewed(name, terms, periods)}

    async def preview(self, name: str, draft: dict[str, Any], periods: Sequence[str]) -> dict[str, Any]:
        """What `draft` was, the Preview of `all` organizations, and of each by itself; `twin`: the same of one that is deducted, if it
        reimburses."""
        terms = draft["terms"]
        of_all = await self._previewed(name, terms, periods)
        single = asyncio.Semaphore(AT_ONCE)

        async def alone(organization: str) -> Any:
            async with single:
                return await self._asked(name, of_all["programme"], periods, [organization])

        own = await asyncio.gather(*(alone(one["organization"]) for one in of_all["organizations"]))
        found = draft | {"all": of_all, "each": {one["organizations"][0]["organization"]: one for one in own}}
        if terms.get("mode") == "reimbursed":
            found["twin"] = await self._previewed(name, terms | {"mode": "deducted"}, periods)
        return found

    async def issue(self, name: str, terms: dict[str, Any]) -> str:
        """Returns the programme's id, once every organization has its voucher."""
        programme = (await self._asking.post("/programmes", OFFICE, terms))["id"]
        await self._asking.post(f"/programmes/{programme}/publish", OFFICE, version=1)
        for start in range(0, len(self._organizations), AT_ONCE):
            some = self._organizations[start : start + AT_ONCE]
            await asyncio.gather(*(self._issue(name, programme, terms, one) for one in some))
        return str(programme)

    async def _issue(self, name: str, programme: str, terms: dict[str, Any], organization: str) -> None:
        draft, amount = DRAFTS[name], issued_for(terms)
        part = terms["caps"].get("contract")
        contract = None if part is None else Money(-(-amount.fen * 10_000 // part))
        body = {
            "programme": programme,
            "organization": organization,
            "enterprise": {
                "place": "610113",
                "industry": "I6513",
                "size": "small",
                "registered_on": "2024-02-29",
                "clear_credit": True,
                "kinds": draft.kinds,
            },
            "use": draft.use,
            "amount": str(amount),
            "contract": contract and {"number": organization, "amount": str(contract)},
        }
        application = await self._asking.post("/voucher-applications", organization, body)
        path, review = f"/voucher-applications/{application['id']}", {"passed": True, "reason": "材料齐全"}
        for reviewer in REVIEWERS:
            application = await self._asking.post(f"{path}/review", reviewer, review, version=application["version"])
        await self._asking.post(f"{path}/issue", OFFICE)

    async def _previewed(self, name: str, terms: dict[str, Any], periods: Sequence[str]) -> Any:
        draft = await self._asking.post("/programmes", OFFICE, terms)
        return await self._asked(name, draft["id"], periods, None)

    async def _asked(self, name: str, programme: str, periods: Sequence[str], whose: list[str] | None) -> Any:
        assume = {"kinds": DRAFTS[name].kinds, "use": DRAFTS[name].use}
        body = {"periods": periods, "organizations": whose, "assume": assume}
        return await self._asking.post(f"/programmes/{programme}/preview", OFFICE, body)


def _fen(money: str) -> int:
    return Money.parse(money).fen
