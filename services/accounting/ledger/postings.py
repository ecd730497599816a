"""Which accounts a fact touches, and by how much. Pure.

Debits are positive, credits negative. An organization's account with the platform is one number, its net: deposits less charges. What is
above zero stands in `prepaid:org` (a credit), what is below in `receivable:org` (a debit), so never both do.
"""

from dataclasses import dataclass
from typing import Final

BANK: Final = "bank"
PLATFORM_FEE: Final = "platform_fee"
OUTPUT_TAX: Final = "output_tax"


@dataclass(frozen=True, slots=True)
class Posting:
    """`amount` in fen: a debit when positive, a credit when negative, never zero."""

    account: str
    amount: int


def prepaid(organization: str) -> str:
    return f"prepaid:{organization}"


def receivable(organization: str) -> str:
    return f"receivable:{organization}"


def payable(seller: str) -> str:
    return f"payable:{seller}"


def charge(organization: str, seller: str, net: int, delta: int) -> tuple[Posting, ...]:
    """What the organization owes the seller grows by `delta` fen (negative: shrinks), its net having been `net`."""
    return _entry(*_move(organization, net, -delta), Posting(payable(seller), -delta))


def programme_receivable(programme: str) -> str:
    return f"programme_receivable:{programme}"


def redemption(organization: str, programme: str, net: int, delta: int) -> tuple[Posting, ...]:
    """The programme owes `delta` fen more (negative: less) of what the organization was charged, its net having been `net`."""
    return _entry(Posting(programme_receivable(programme), delta), *_move(organization, net, delta))


def deposit(organization: str, net: int, amount: int) -> tuple[Posting, ...]:
    """`amount` fen came in: it pays what is owed first, and the rest is prepaid."""
    return _entry(Posting(BANK, amount), *_move(organization, net, amount))


def deferred(provider: str) -> str:
    return f"fee_deferred:{provider}"


def fee(provider: str, net: int, tax: int, later: int = 0) -> tuple[Posting, ...]:
    """The platform keeps `net + tax` fen of what the provider is owed (negative: gives it back), and owes the tax in it.

    It keeps `later` fen more, which aren't due yet.
    """
    return _entry(
        Posting(payable(provider), net + tax + later),
        Posting(PLATFORM_FEE, -net),
        Posting(OUTPUT_TAX, -tax),
        Posting(deferred(provider), -later),
    )


def fee_due(provider: str, net: int, tax: int) -> tuple[Posting, ...]:
    """Of what was kept `net + tax` fen have become due."""
    return _entry(Posting(deferred(provider), net + tax), Posting(PLATFORM_FEE, -net), Posting(OUTPUT_TAX, -tax))


def _move(organization: str, net: int, change: int) -> tuple[Posting, Posting]:
    """The organization's net goes from `net` to `net + change`."""
    after = net + change
    return (
        Posting(prepaid(organization), max(net, 0) - max(after, 0)),
        Posting(receivable(organization), max(-after, 0) - max(-net, 0)),
    )


def _entry(*postings: Posting) -> tuple[Posting, ...]:
    return tuple(posting for posting in postings if posting.amount)
