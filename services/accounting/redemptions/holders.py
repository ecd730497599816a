"""Who has a voucher, as rates see it."""

from typing import Any

from sqlalchemy.orm import Session

from caravan.contracts.programmes import ProgrammeTerms
from services.accounting.programmes.claims import Holder
from services.accounting.vouchers.affiliation import affiliates


def holder_of(tx: Session, row: Any, terms: ProgrammeTerms) -> Holder:
    """Of a row of `vouchers`. Affiliates are looked up where the programme goes by them."""
    found = affiliates(tx, row.organization, row.affiliates) if terms.eligibility.unaffiliated else frozenset[str]()
    return Holder(frozenset(row.kinds), row.use, found)
