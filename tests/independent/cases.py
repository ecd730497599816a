"""A small bill on which every figure can be checked by head, as the API would give it.

All on 2026-01-10, UTC. Tariffs: `day` [09:00, 10:30) at 36.00 a core-hour, 0.01 a core-second; `night` from 10:30 at 18.00,
half a fen a core-second. The first period ends at 12:00 and is closed.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ORG, PRV, PRJ, OFF, PRL, FIRST, SECOND = (
    f"{prefix}_{number:032x}" for number, prefix in enumerate(("org", "prv", "prj", "off", "prl", "per", "per"))
)
ACC = "acc_nvidia-h100-80g"
Json = dict[str, Any]


def ident(prefix: str, name: str) -> str:
    return f"{prefix}_{name.encode().hex():0>32}"


def at(clock: str) -> str:
    return f"2026-01-10T{clock}Z"


PRICES = {
    "day": {"cpu_core_hour": "36.00", "accelerator_hour": "72.00"},
    "night": {"cpu_core_hour": "18.00", "memory_gib_hour": "3.60", "job": "0.50"},
}
PRICE_LIST: Json = {
    "id": PRL,
    "offering": OFF,
    "revision": 3,
    "created_at": at("00:00:00"),
    "tariffs": [
        {"name": "night", "starts_at": at("10:30:00"), "ends_at": None, "prices": PRICES["night"]},
        {"name": "day", "starts_at": at("09:00:00"), "ends_at": at("10:30:00"), "prices": PRICES["day"]},
    ],
}
PERIODS: list[Json] = [
    {
        "id": FIRST,
        "name": "first",
        "starts_at": "2026-01-01T00:00:00Z",
        "ends_at": at("12:00:00"),
        "state": "closed",
        "version": 2,
    },
    {
        "id": SECOND,
        "name": "second",
        "starts_at": at("12:00:00"),
        "ends_at": "2026-02-01T00:00:00Z",
        "state": "open",
        "version": 1,
    },
]


def span(start: str, end: str, cpus: int, memory_mib: int = 0, accelerators: int = 0) -> Json:
    kind = ACC if accelerators else None
    shape = {"nodes": 1, "cpus": cpus, "memory_mib": memory_mib, "accelerators": accelerators, "accelerator": kind}
    return {"start": at(start), "end": at(end), **shape}


def usage(
    job: str,
    *spans: Json,
    run: str = "",
    revision: int = 1,
    outcome: str | None = "succeeded",
    hold: str = "100.00",
    started: str | None = None,
) -> Json:
    """One hour of one run; it starts with its first span unless `started` says otherwise."""
    first = spans[0]["start"] if spans else at(started or "")
    return {
        "record": {
            "hour": first[:14] + "00:00Z",
            "revision": revision,
            "spans": list(spans),
            "run": ident("run", run or job),
            "attempt": ident("att", job),
            "job": ident("job", job),
            "run_started_at": at(started) if started else first,
        },
        "organization": ORG,
        "project": PRJ,
        "provider": PRV,
        "offering": OFF,
        "price_list": PRL,
        "outcome": outcome,
        "hold_amount": hold,
        "applied_at": at("13:00:00"),
    }


def line(
    job: str,
    tariff: str,
    component: str,
    quantity: int,
    amount: str,
    reason: str | None = None,
    period: str = FIRST,
    corrects: str | None = None,
) -> Json:
    return {
        "id": ident("lin", f"{job}{len(component)}{tariff[0]}"),
        "period": period,
        "organization": ORG,
        "provider": PRV,
        "project": PRJ,
        "job": ident("job", job),
        "component": component,
        "accelerator": ACC if component == "accelerator_hour" else None,
        "price_list": PRL,
        "price_list_revision": 3,
        "tariff": tariff,
        "window": "all",
        "bearer": "provider" if reason else "organization",
        "reason": reason,
        "unit_price": PRICES.get(tariff, {}).get(component, "0"),
        "quantity": quantity,
        "amount": amount,
        "corrects": corrects,
    }


def account(name: str, debit: str, credit: str, balance: str) -> Json:
    return {"account": name, "debit": debit, "credit": credit, "balance": balance}


def statement(party: str, party_id: str) -> Json:
    """Of the bill's first period: a 0.80 + b 0.13 + d 0.66, tax of 6% included; c's 0.10 is the provider's."""
    figures = {
        "gross": "1.59",
        "tax": "0.09",
        "net": "1.50",
        "adjustments": "0.00",
        "borne_by_provider": "0.10",
        "notional": "0.00",
    }
    number = f"{party[:3].upper()}-2026-000001"
    section = {"treatment": "taxed", "rate": 600, "gross": "1.59", "net": "1.50", "tax": "0.09"}
    other = {"counterparty": PRV if party_id == ORG else ORG}
    paid = {"fee": None, "payout": "1.59" if party_id == PRV else None, "sections": [section | other]}
    return {
        "number": number,
        "party": party,
        "party_id": party_id,
        "period": FIRST,
        "line_count": 13,
        **figures,
        **paid,
    }


class Bill:
    """Jobs a (plain), b (over a tariff's edge), c (a site's fault) and d (corrected after the close)."""

    def __init__(self) -> None:
        self.usage = [
            usage("a", span("10:00:00", "10:00:40", cpus=2)),
            usage("b", span("10:29:50", "10:30:05", cpus=1)),
            usage("c", span("11:00:00", "11:00:20", cpus=1), outcome="site"),
            usage("d", span("11:10:00", "11:10:31", cpus=1)),
            usage("d", span("11:10:00", "11:10:31", cpus=2), revision=2),
        ]
        self.periods = PERIODS
        self.lines = [
            line("a", "day", "cpu_core_hour", 80, "0.80"),
            line("a", "day", "node_hour", 40, "0.00"),
            line("a", "day", "job", 1, "0.00"),
            line("b", "day", "cpu_core_hour", 10, "0.10"),
            line("b", "night", "cpu_core_hour", 5, "0.03"),
            line("b", "day", "node_hour", 10, "0.00"),
            line("b", "night", "node_hour", 5, "0.00"),
            line("b", "day", "job", 1, "0.00"),
            line("c", "night", "cpu_core_hour", 20, "0.10", "site_fault"),
            line("c", "night", "node_hour", 20, "0.00", "site_fault"),
            line("d", "night", "cpu_core_hour", 31, "0.16"),
            line("d", "night", "node_hour", 31, "0.00"),
            line("d", "night", "job", 1, "0.50"),
            line("d", "night", "cpu_core_hour", 31, "0.15", period=SECOND, corrects=FIRST),
        ]
        self.statements = [statement("organization", ORG), statement("provider", PRV)]
        self.trial_balance: Json = {
            "at": at("14:00:00"),
            "accounts": [
                account("bank", "100.00", "0.00", "100.00"),
                account(f"prepaid:{ORG}", "1.74", "100.00", "-98.26"),
                account(f"payable:{PRV}", "0.00", "1.74", "-1.74"),
            ],
            "sum": "0.00",
        }

    def charge_fee(self, amount: str = "0.16", tax: str = "0.01", *, posted: bool = True) -> None:
        """10% of the provider's 1.59, with 6% of tax in it: as it should be, or as said."""
        terms = {
            "agreement": ident("fee", "a"),
            "rate": 1000,
            "floor": "0.10",
            "tax_treatment": "taxed",
            "tax_rate": 600,
        }
        self.statements[1].update(fee=terms | {"amount": amount, "tax": tax, "net": "0.15"}, payout="1.43")
        if posted:
            self.trial_balance["accounts"][2:] = [
                account(f"payable:{PRV}", "0.16", "1.74", "-1.58"),
                account("platform_fee", "0.00", "0.15", "-0.15"),
                account("output_tax", "0.00", "0.01", "-0.01"),
            ]

    def line(self, job: str, component: str, tariff: str) -> Json:
        """The first such line, to be changed."""
        wanted = (ident("job", job), component, tariff)
        return next(x for x in self.lines if (x["job"], x["component"], x["tariff"]) == wanted)

    def write(self, folder: Path) -> Path:
        write(folder, self.usage, self.lines, self.periods)
        (folder / "statements.json").write_text(json.dumps(self.statements))
        (folder / "trial_balance.json").write_text(json.dumps(self.trial_balance))
        return folder


def write(
    folder: Path,
    usage: Sequence[Json],
    lines: Sequence[Json],
    periods: Sequence[Json] = PERIODS,
    price_list: Json = PRICE_LIST,
) -> Path:
    (folder / "usage.json").write_text(json.dumps({"usage": usage, "price_lists": [price_list]}))
    (folder / "lines.json").write_text(json.dumps(lines))
    (folder / "periods.json").write_text(json.dumps(periods))
    return folder
