"""What the platform says beside what it should be: lines, statements, the trial balance."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

from bench.independent.recharge import Key, Period, Rules, Usage, fen_of, fen_text

HOUR = 3600
IN_ORDER = "of a closed period, in a later one"


class Difference(NamedTuple):
    kind: str
    where: str
    recomputed: str
    found: str


@dataclass(frozen=True)
class Line:
    """A line as the platform has it; `key` has the period whose usage it is about, `stands_in` where it is billed."""

    key: Key
    stands_in: str
    corrects: str | None
    price: Fraction
    revision: int
    quantity: int
    amount: int


@dataclass
class Report:
    counts: dict[str, int] = field(default_factory=dict)
    nonzero_share: float = 0.0
    totals: dict[str, dict[str, str]] = field(default_factory=dict)
    checked: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)

    def expect(self, kind: str, where: Iterable[str | None], recomputed: object, found: object) -> None:
        if recomputed != found:
            self.differences.append(Difference(kind, " ".join(w for w in where if w), str(recomputed), str(found)))

    def money(self, kind: str, where: Iterable[str | None], recomputed: int, found: int) -> None:
        self.expect(kind, where, fen_text(recomputed), fen_text(found))


def newest(stated: list[Usage], report: Report) -> list[Usage]:
    """The highest revision of each hour of each run; says where the export contradicts itself."""
    hours: dict[tuple[str, int], Usage] = {}
    for usage in stated:
        other = hours.setdefault((usage.run, usage.hour), usage)
        if usage.revision > other.revision:
            hours[usage.run, usage.hour] = usage
        elif usage.revision == other.revision:
            report.expect("usage", (usage.run, "one revision, two contents"), other, usage)
    facts: dict[str, tuple[object, ...]] = {}
    for u in hours.values():
        job_facts = (u.organization, u.project, u.hold)
        run_facts = (u.job, u.provider, u.offering, u.price_list, u.outcome, u.run_started)
        report.expect("usage", (u.job, "two sets of facts"), facts.setdefault(u.job, job_facts), job_facts)
        report.expect("usage", (u.run, "two sets of facts"), facts.setdefault(u.run, run_facts), run_facts)
        ended = (u.attempt_ended,)
        report.expect("usage", (u.attempt, "two sets of facts"), facts.setdefault(u.attempt, ended), ended)
        at = u.hour
        for span in u.spans:
            inside = at <= span.start < span.end <= u.hour + HOUR
            report.expect("usage", (u.run, "spans in order, apart, in their hour"), True, inside)
            at = span.end
    return list(hours.values())


def compare_lines(quantities: Mapping[Key, int], lines: list[Line], rules: Rules, report: Report) -> None:
    periods = {p.id: p for p in rules.periods}
    groups: defaultdict[Key, list[Line]] = defaultdict(list)
    for line in lines:
        groups[line.key].append(line)
    for key in sorted({*quantities, *groups}, key=repr):
        slot, group = key.slot, sorted(groups[key], key=lambda line: periods[line.stands_in].starts)
        where = (*slot, key.bearer, key.reason)
        expected = quantities.get(key, 0)
        if slot.price_list not in rules.lists or not group:
            stated = f"{expected} for {fen_text(rules.amount(slot, expected))}" if expected else "no usage"
            report.expect("line", where, stated, "a line" if group else "no line")
            continue
        quantity = amount = 0
        for at, line in enumerate(group):
            report.expect("unit_price", where, rules.price(slot), line.price)
            report.expect("price_list_revision", where, rules.lists[slot.price_list].revision, line.revision)
            if line.corrects is not None:
                found = adjustment_stands(periods[line.corrects], periods[line.stands_in])
                report.expect("adjustment", (*where, "corrected in", line.stands_in), IN_ORDER, found)
            quantity, amount = quantity + line.quantity, amount + line.amount
            if at + 1 < len(group):
                report.money("sealed", where, rules.amount(slot, quantity), amount)
        for place, count in Counter(line.stands_in for line in group).items():
            report.expect("lines of one key", (*where, "in", place), 1, count)
        report.expect("quantity", where, expected, quantity)
        report.money("amount", where, rules.amount(slot, expected), amount)


def adjustment_stands(corrected: Period, place: Period) -> str:
    if not corrected.closed:
        return "of a period that is not closed"
    return IN_ORDER if place.starts >= corrected.ends else "not in a later period"


def compare_statements(statements: list[Any], lines: list[Line], rules: Rules, report: Report) -> None:
    of: defaultdict[tuple[str, str, str], list[Line]] = defaultdict(list)
    for line in lines:
        of[line.stands_in, "organization", line.key.slot.organization].append(line)
        of[line.stands_in, "provider", line.key.slot.provider].append(line)
    closed = {p.id for p in rules.periods if p.closed}
    issued = Counter((s["period"], s["party"], s["party_id"]) for s in statements)
    for party in sorted({p for p in of if p[0] in closed} | set(issued)):
        report.expect("statement", (*party, "issued"), 1, issued[party])
    gross: Counter[tuple[str, str]] = Counter()
    for s in statements:
        party = (s["period"], s["party"], s["party_id"])
        own = [line for line in of[party] if line.key.bearer == "organization"]
        others, nobodys = (
            sum(line.amount for line in of[party] if line.key.bearer == bearer) for bearer in ("provider", "nobody")
        )
        where, found = (*party, s["number"]), fen_of(s["gross"])
        gross[s["period"], s["party"]] += found
        report.money("statement", (*where, "gross"), sum(line.amount for line in own), found)
        report.money("statement", (*where, "net + tax"), found, fen_of(s["net"]) + fen_of(s["tax"]))
        corrections = sum(line.amount for line in own if line.corrects)
        report.money("statement", (*where, "adjustments"), corrections, fen_of(s["adjustments"]))
        report.money("statement", (*where, "borne_by_provider"), others, fen_of(s["borne_by_provider"]))
        report.money("statement", (*where, "notional"), nobodys, fen_of(s["notional"]))
        report.expect("statement", (*where, "line_count"), len(of[party]), s["line_count"])
    for period in sorted({period for period, _ in gross}):
        sides = (gross[period, "organization"], gross[period, "provider"])
        report.money("statement", (period, "gross of organizations and of providers"), *sides)


def compare_trial_balance(balance: Any, payable: Mapping[str, int], fees: int | None, report: Report) -> None:
    """`payable`: what the recomputed lines owe to each provider less the fees on its statements, in fen; `fees`: all of these."""
    accounts = {a["account"]: fen_of(a["balance"]) for a in balance["accounts"]}
    report.expect("ledger", ("accounts named once",), len(balance["accounts"]), len(accounts))
    report.money("ledger", ("sum of balances",), 0, sum(accounts.values()))
    report.money("ledger", ("stated sum",), 0, fen_of(balance["sum"]))
    for a in balance["accounts"]:
        report.money("ledger", (a["account"],), fen_of(a["debit"]) - fen_of(a["credit"]), fen_of(a["balance"]))
    named = {name for name in accounts if name.startswith("payable:")}
    for name in sorted(named | {f"payable:{provider}" for provider in payable}):
        report.money("ledger", (name,), -payable.get(name.removeprefix("payable:"), 0), accounts.get(name, 0))
    if fees is not None:
        kept = (name for name in accounts if name in ("platform_fee", "output_tax") or name.startswith("fee_deferred:"))
        report.money("ledger", ("fees, due and not due",), -fees, sum(accounts[name] for name in kept))
