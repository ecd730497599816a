"""Tax and fees on statements, reckoned again as docs/finance.md says."""

from collections import Counter, defaultdict
from fractions import Fraction
from typing import Any

from bench.independent.compare import Line, Report
from bench.independent.recharge import fen_of, round_half_away

WHOLE = 10_000
Section = tuple[str, str, str, str, int, int, int]
"""Period, organization, seller, treatment, rate, gross, tax."""


def compare_taxes(statements: list[Any], lines: list[Line], report: Report) -> Counter[str]:
    """What is wrong with sections and fees. Returns the fees that the statements say were taken of each provider, in fen.

    A statement that was issued before there were sections has none; those of its period on the other side have none either.
    """
    sold: Counter[tuple[str, str, str]] = Counter()
    for line in lines:
        if line.key.bearer == "organization":
            sold[line.stands_in, line.key.slot.organization, line.key.slot.provider] += line.amount
    sides: defaultdict[str, set[Section]] = defaultdict(set)
    fees: Counter[str] = Counter()
    for s in statements:
        where = (s["period"], s["party"], s["party_id"], s["number"])
        found = [_section(s, section, report, where) for section in s["sections"]]
        sides[s["party"]].update(found)
        if found:
            report.money("statement", (*where, "tax of its sections"), sum(one[6] for one in found), fen_of(s["tax"]))
        for pair in sorted({one[:3] for one in found}):
            gross = sum(one[5] for one in found if one[:3] == pair)
            report.money("statement", (*where, "gross of its sections", *pair[1:]), sold[pair], gross)
        if s["party"] == "provider":
            fees[s["party_id"]] += _fee(s, report, where)
    for one in sorted(sides["organization"] ^ sides["provider"]):
        report.expect("statement", (*map(str, one), "stands on"), "both statements", "one")
    return fees


def _section(s: Any, section: Any, report: Report, where: tuple[str, ...]) -> Section:
    gross, tax, rate = fen_of(section["gross"]), fen_of(section["tax"]), section["rate"]
    place = (*where, section["counterparty"], section["treatment"], str(rate))
    exact = Fraction(gross * rate, WHOLE + rate) if section["treatment"] == "taxed" else Fraction(0)
    report.money("statement", (*place, "tax"), round_half_away(exact), tax)
    report.money("statement", (*place, "net + tax"), gross, fen_of(section["net"]) + tax)
    sides = (s["party_id"], section["counterparty"])
    organization, seller = sides if s["party"] == "organization" else sides[::-1]
    return (s["period"], organization, seller, section["treatment"], rate, gross, tax)


def _fee(s: Any, report: Report, where: tuple[str, ...]) -> int:
    fee, gross = s["fee"], fen_of(s["gross"])
    amount = 0
    if fee is not None:
        amount = round_half_away(Fraction(gross * fee["rate"], WHOLE))
        if gross > 0:
            amount = min(gross, max(amount, fen_of(fee["floor"])))
        report.money("statement", (*where, "fee"), amount, fen_of(fee["amount"]))
        tax = round_half_away(Fraction(amount * fee["tax_rate"], WHOLE + fee["tax_rate"]))
        report.money("statement", (*where, "tax of the fee"), tax, fen_of(fee["tax"]))
        report.money("statement", (*where, "net of the fee"), amount - tax, fen_of(fee["net"]))
    report.money("statement", (*where, "payout"), gross - amount, fen_of(s["payout"]))
    return amount
