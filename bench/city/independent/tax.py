"""Tax on what stands in a closed period, and the platform's fee (docs/finance.md)."""

from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction

from bench.city.independent.lines import Key
from bench.city.independent.reading import Fact, fen, halves_away, seconds
from bench.city.independent.windows import month_start
from bench.city.independent.world import World

PERCENT = 10_000  # rates are in hundredths of a percent

Taxed = tuple[str, int]
"""Treatment and rate; untaxed has the rate 0."""


@dataclass(slots=True)
class Row:
    """A line as it stands in a period: an adjustment where `corrects` is set. Of closed periods with its tax."""

    key: Key
    period: int
    corrects: int | None
    quantity: int
    amount: int
    basis: int | None = None
    tax: int | None = None
    taxed: Taxed | None = None

    @property
    def owed(self) -> bool:
        """Whether the organization bears it."""
        return self.key.bearer == "organization"


def holding(rules: list[Fact], second: int) -> Fact | None:
    """Of the rules that hold at a second the one that starts last, and of these the one that was made last."""
    found = None
    for rule in rules:
        ends = rule.get("ends_at")
        if (
            seconds(rule["starts_at"]) <= second
            and (ends is None or second < seconds(ends))
            and (found is None or seconds(rule["starts_at"]) >= seconds(found["starts_at"]))
        ):
            found = rule
    return found


def treatment(world: World, catalog: dict[str, int], seller: str, period: int) -> Taxed:
    """How what `seller` supplies in a period is taxed; `catalog` are the providers' rates as it was closed.

    A period goes by the rule of its last second. A seller that neither rules nor the catalog know pays none.
    """
    category = "platform_service" if seller == "platform" else "compute_service"
    rules = [rule for rule in world.tax_rules if rule["seller"] == seller and rule["category"] == category]
    rule = holding(rules, month_start(period + 1) - 1)
    return (rule["treatment"], rule.get("rate") or 0) if rule else ("taxed", catalog.get(seller, 0))


def included(gross: int, rate: int) -> int:
    """Tax that is included in `gross`: gross x r / (1 + r), rounded once."""
    return halves_away(gross * rate, PERCENT + rate)


def _order(row: Row) -> tuple[tuple[bool, bytes] | tuple[bool, int], ...]:
    """Which of equal rests goes up first (bench/city/README.md, "lines")."""
    key = row.key
    names = (key.job, key.component, key.accelerator, key.price_list, key.tariff, key.window, key.attempt)
    return (
        *((name is not None, (name or "").encode()) for name in names),
        (row.corrects is not None, row.corrects or 0),
    )


def put_tax(rows: list[Row], taxed: dict[tuple[str, int], Taxed]) -> None:
    """Take tax once of what one seller supplied to one organization at one rate, and put it on the lines.

    All down first; then up by a fen those with the largest rest, until the sum is right.
    """
    sections: dict[tuple[str, str, Taxed], list[Row]] = defaultdict(list)
    for row in rows:
        if row.owed:
            row.taxed = taxed[row.key.seller, row.key.month]
            sections[row.key.organization, row.key.seller, row.taxed].append(row)
    for (_, _, (_, rate)), section in sections.items():
        whole = included(sum(row.amount for row in section), rate)
        rests: list[tuple[int, Row]] = []
        for row in section:
            row.tax, rest = divmod(row.amount * rate, PERCENT + rate)
            rests.append((-rest, row))
            whole -= row.tax
        rests.sort(key=lambda rest: (rest[0], _order(rest[1])))
        for _, row in rests[:whole]:
            row.tax = (row.tax or 0) + 1


@dataclass(frozen=True, slots=True)
class Fee:
    """What the platform keeps of a provider's gross in a period: amount = net + tax, in fen."""

    agreement: str
    rate: int
    floor: int
    amount: int
    tax: int
    taxed: Taxed
    due: str


def fee(world: World, provider: str, period: int, gross: int) -> Fee | None:
    """`rate` of the gross, at least the floor, never more than the gross; where corrections outweigh it, negative."""
    made = [agreement for agreement in world.fee_agreements if agreement["provider"] == provider]
    agreement = holding(made, month_start(period + 1) - 1)
    if agreement is None:
        return None
    floor = fen(agreement.get("floor") or "0.00")
    share = Fraction(gross * agreement["rate"], PERCENT)
    amount = halves_away(share.numerator, share.denominator)
    if gross >= 0:
        amount = min(max(amount, floor), gross)
    taxed = treatment(world, {}, "platform", period)
    return Fee(
        agreement["id"],
        agreement["rate"],
        floor,
        amount,
        included(amount, taxed[1]),
        taxed,
        agreement.get("due", "at_close"),
    )
