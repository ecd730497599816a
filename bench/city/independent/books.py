"""What follows from lines by sums: statements, funds, the ledger (docs/finance.md; docs/resale.md, "Statements")."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from bench.city.independent.closing import Closing
from bench.city.independent.tax import Fee, Row, Taxed


@dataclass(slots=True)
class Statement:
    """Of a party in a closed period, in fen. `sections` are by (counterparty, treatment and rate): gross and tax."""

    party: str
    sections: dict[tuple[str, Taxed], tuple[int, int]] = field(default_factory=dict)
    gross: int = 0
    tax: int = 0
    adjustments: int = 0
    borne_by_provider: int = 0
    notional: int = 0
    line_count: int = 0
    fee: Fee | None = None

    def add(self, row: Row, counterparty: str) -> None:
        """Take in a line."""
        self.line_count += 1
        if row.key.bearer == "provider":
            self.borne_by_provider += row.amount
        elif row.key.bearer == "nobody":
            self.notional += row.amount
        else:
            tax, taxed = row.tax or 0, row.taxed or ("taxed", 0)
            gross, before = self.sections.get((counterparty, taxed), (0, 0))
            self.sections[counterparty, taxed] = gross + row.amount, before + tax
            self.gross += row.amount
            self.tax += tax
            self.adjustments += row.amount if row.corrects is not None else 0


Place = tuple[str, str, int]
"""(`buys` or `sells`, party, period)"""


def statements(closing: Closing) -> dict[Place, Statement]:
    """One for each party with lines in a closed period: of what it bought, and of what it sold."""
    found: dict[Place, Statement] = {}
    for row in closing.rows:
        buyer, seller = row.key.organization, row.key.seller
        found.setdefault(("buys", buyer, row.period), Statement("organization")).add(row, seller)
        party = "provider" if seller == row.key.provider else "reseller"
        found.setdefault(("sells", seller, row.period), Statement(party)).add(row, buyer)
    for (seller, period), fee in closing.fees.items():
        found["sells", seller, period].fee = fee
    return found


@dataclass(frozen=True, slots=True)
class Note:
    """A credit note: of what an organization owes a seller less is owed, in fen."""

    organization: str
    seller: str
    amount: int


@dataclass(slots=True)
class Funds:
    """Of an organization, in fen."""

    deposited: int = 0
    credit: int = 0
    charged: int = 0
    held: int = 0

    @property
    def available(self) -> int:
        """What new holds can take."""
        return self.deposited + self.credit - self.charged - self.held


def funds(closing: Closing, rows: Iterable[Row], notes: Iterable[Note]) -> dict[str, Funds]:
    """Of each organization that paid, owes or has a limit; `rows` are all lines, open ones too."""
    found: dict[str, Funds] = defaultdict(Funds)
    for organization, amount in closing.world.deposits.values():
        found[organization].deposited += amount
    for organization, amount in closing.world.credit.items():
        found[organization].credit = amount
    for row in rows:
        if row.owed:
            found[row.key.organization].charged += row.amount
    for note in notes:
        found[note.organization].charged -= note.amount
    for job in closing.world.jobs.values():
        charged = closing.charges.get(job.id)
        if job.settled():
            continue
        if job.buyer is not None:
            found[job.buyer].held += job.hold - (charged.captured if charged else 0)
        if job.reseller is not None:
            found[job.reseller].held += job.wholesale_hold - (charged.wholesale if charged else 0)
    return dict(found)


def ledger(closing: Closing, all_funds: dict[str, Funds], rows: Iterable[Row], notes: Iterable[Note]) -> dict[str, int]:
    """The balance of each account in fen, debits positive, without those of 0.

    Prepaid and receivable of an organization are never both other than 0. Of what is sold the seller is owed all, less the fee.
    """
    accounts: dict[str, int] = defaultdict(int)
    for organization, of in all_funds.items():
        accounts["bank"] += of.deposited
        owed = of.charged - of.deposited
        accounts[f"{'receivable' if owed > 0 else 'prepaid'}:{organization}"] += owed
    for row in rows:
        if row.owed:
            accounts[f"payable:{row.key.seller}"] -= row.amount
    for note in notes:
        accounts[f"payable:{note.seller}"] += note.amount
    for (provider, _), fee in closing.fees.items():
        accounts[f"payable:{provider}"] += fee.amount
        accounts["platform_fee"] -= fee.amount - fee.tax
        accounts["output_tax"] -= fee.tax
    return {account: balance for account, balance in accounts.items() if balance}
