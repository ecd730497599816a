"""Issuing the statements of a period: within the transaction that closes it, one for each party that has lines in it, or for which vouchers
pay more or less of earlier ones."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Row, insert
from sqlalchemy.orm import Session

from caravan.contracts.statements import StatementParty
from caravan.kernel import ids
from services.accounting.charging.reading import seller_of
from services.accounting.fees import paying
from services.accounting.fees.taking import take
from services.accounting.redemptions.reading import of_period
from services.accounting.statements import lines, numbers, paper
from services.accounting.statements.models import StatementRow
from services.accounting.statements.totals import Tally
from services.accounting.usage import copies
from services.accounting.usage.service import SetAside, by_reason

NUMBER_PREFIX: Final = {
    StatementParty.ORGANIZATION: "ORG",
    StatementParty.PROVIDER: "PRV",
    StatementParty.RESELLER: "RSL",
}


def issue(tx: Session, period: Row[Any], late: Mapping[str, str], aside: Sequence[SetAside], at: datetime) -> int:
    """Write the statements of `period` (a row of `periods`) and return how many.

    `late`: site -> provider, of sites whose usage was not complete. An organization's statement names all of them, since its jobs may
    have run on any, and a reseller's too; a provider's names its own. Of `aside`, each has what is its party's. The lines have their tax
    already; the fees of providers are taken here.
    """
    redemptions = of_period(tx, period.id)
    names = copies.names_of(tx, redemptions) | lines.names_in(tx, period.id)
    rates, issued = lines.rates_in(tx, period.id), 0
    year = int(period.month[:4])
    for party in StatementParty:
        column = lines.PARTY_COLUMN[party].key
        groups = groupby(lines.by_party(tx, period.id, party), key=lambda row: getattr(row, column))
        paid = redemptions if party is StatementParty.ORGANIZATION else {}
        sealed = [_seal(party, party_id, rows, names, rates, paid.get(party_id)) for party_id, rows in groups]
        without = sorted(paid.keys() - {statement["party_id"] for statement in sealed})
        sealed += [_seal(party, party_id, (), names, rates, paid[party_id]) for party_id in without]
        if sealed:
            first = numbers.take(tx, party.value, year, len(sealed))
            common = {
                "party": party.value,
                "period": period.id,
                "period_name": period.name,
                "starts_at": period.starts_at,
                "ends_at": period.ends_at,
                "issued_at": at,
            }
            for number, statement in enumerate(sealed, start=first):
                statement |= common | {"id": ids.new("stm"), "number": number_of(party, year, number)}
                statement["late_sites"] = _late_for(party, statement["party_id"], late)
                statement["set_aside"] = by_reason(one for one in aside if one.concerns(party, statement["party_id"]))
                statement["fee"] = _fee(tx, period, statement, at)
            tx.execute(insert(StatementRow), sealed)
            # what one statement gives back pays for those before it
            for statement in sealed:
                if statement["party"] == StatementParty.ORGANIZATION and statement["gross"] < 0:
                    paying.bring_up(tx, statement["party_id"], at)
        issued += len(sealed)
    return issued


def number_of(party: StatementParty, year: int, number: int) -> str:
    """The number of a statement, as it stands on it."""
    return f"{NUMBER_PREFIX[party]}-{year:04d}-{number:06d}"


def _seal(
    party: StatementParty,
    party_id: str,
    rows: Any,
    names: Mapping[str, str],
    rates: Mapping[str, int],
    redemptions: Sequence[Mapping[str, Any]] | None,
) -> dict[str, Any]:
    """What the lines of one party come to, with the hash of their canonical CSV."""
    columns = paper.Columns(taxed=True, sold=True, subsidized=bool(redemptions))
    tally, digest, used, sellers = Tally(), hashlib.sha256(paper.header(columns)), {party_id}, set()
    for row in rows:
        tally.add(lines.counterparty(party, row), row)
        digest.update(paper.line(row, names, columns))
        used |= {row.organization, row.provider, row.reseller, row.project, row.corrects}
        sellers.add(seller_of(row))
    totals = tally.totals()
    return {
        "party_id": party_id,
        "party_name": names[party_id],
        "gross": totals.gross,
        "tax": totals.tax,
        "adjustments": totals.adjustments,
        "borne_by_provider": totals.borne_by_provider,
        "notional": totals.notional,
        "line_count": totals.line_count,
        "lines_sha256": digest.hexdigest(),
        "names": {identifier: names[identifier] for identifier in sorted(used - {""})},
        "rates": {seller: rates[seller] for seller in sorted(sellers)},
        "sections": [section.kept() for section in totals.sections],
        "sold": True,
        "redemptions": redemptions,
    }


def _fee(tx: Session, period: Row[Any], statement: Mapping[str, Any], at: datetime) -> dict[str, Any] | None:
    if statement["party"] != StatementParty.PROVIDER:
        return None
    fee = take(tx, period, statement, at)
    return None if fee is None else fee.model_dump(mode="json")


def _late_for(party: StatementParty, party_id: str, late: Mapping[str, str]) -> Sequence[str]:
    return sorted(site for site, provider in late.items() if party != StatementParty.PROVIDER or provider == party_id)
