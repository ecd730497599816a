"""Facts for tests of the books: parties, lines and progress, written as the other rooms leave them."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from caravan.contracts.prices import Component
from caravan.contracts.reconciliations import Finding
from caravan.contracts.statements import BearerKind
from caravan.contracts.usage import SiteProgress
from caravan.kernel import clock
from caravan.pricing import amount
from services.accounting.charging.models import LineRow
from services.accounting.ledger import service as ledger
from services.accounting.ledger.verify import verify
from services.accounting.periods import service as periods
from services.accounting.usage.models import JobName, OrganizationCopy, ProjectCopy, ProviderCopy

AT = datetime(2026, 11, 10, 8, tzinfo=UTC)
NOVEMBER = datetime(2026, 10, 31, 16, tzinfo=UTC)
"""When November starts in Asia/Shanghai."""
DECEMBER = datetime(2026, 11, 30, 16, tzinfo=UTC)


def identifier(prefix: str, number: int) -> str:
    return f"{prefix}_{number:032x}"


ORG, OTHER_ORG = identifier("org", 1), identifier("org", 2)
PRV, OTHER_PRV = identifier("prv", 1), identifier("prv", 2)
SITE, OTHER_SITE = identifier("sit", 1), identifier("sit", 2)


def party_copies(tx: Session, rates: dict[str, int] | None = None) -> None:
    """Two organizations with a project each, two providers with their tax rates."""
    for number, organization in enumerate((ORG, OTHER_ORG), start=1):
        tx.execute(insert(OrganizationCopy).values(id=organization, name=f"企业 {number}", version=1))
        tx.execute(
            insert(ProjectCopy).values(
                id=identifier("prj", number), organization=organization, name=f"项目 {number}", version=1
            )
        )
    for provider, rate in ({PRV: 600, OTHER_PRV: 900} if rates is None else rates).items():
        tx.execute(insert(ProviderCopy).values(id=provider, name=f"中心 {provider[-1]}", tax_rate=rate, version=1))


def period_at(tx: Session, at: datetime) -> str:
    second = clock.to_seconds(at)
    return periods.locate(tx, second, second + 1)[0].period


def line(tx: Session, number: int, period: str, quantity: int, **changes: Any) -> dict[str, Any]:
    """A line of job `number`, priced at 0.35 a core-hour, with its entry in the ledger where the organization bears it."""
    values = {
        "id": identifier("lin", number),
        "period": period,
        "organization": ORG,
        "provider": PRV,
        "project": identifier("prj", 1),
        "job": identifier("job", number),
        "component": Component.CPU_CORE_HOUR.value,
        "accelerator": "",
        "price_list": identifier("prl", 1),
        "price_list_revision": 1,
        "tariff": "base",
        "window": "all",
        "bearer": BearerKind.ORGANIZATION.value,
        "reason": "",
        "unit_price": "0.35",
        "quantity": quantity,
        "corrects": "",
        **changes,
    }
    values["amount"] = amount(Component(values["component"]), quantity, Decimal(values["unit_price"]))
    tx.execute(insert(LineRow).values(values))
    if values["bearer"] == BearerKind.ORGANIZATION:
        ledger.charge(
            tx,
            organization=values["organization"],
            seller=values.get("reseller") or values["provider"],
            delta_fen=values["amount"],
            reference=values["job"],
            at=AT,
        )
    return values


def job_name(tx: Session, number: int, name: str) -> None:
    tx.execute(insert(JobName).values(job=identifier("job", number), name=name))


def progress(tx: Session, site: str, through: datetime, version: int = 1, provider: str = PRV) -> None:
    """The broker says that the site's usage before `through` is complete."""
    told = SiteProgress(site=site, provider=provider, complete_through=through, version=version)
    periods.keep_progress(tx, [told], through)


def proof(tx: Session) -> list[Finding]:
    """What the proof of the books finds, but for lines without usage: what is written by hand has none."""
    return [finding for finding in verify(tx) if finding.check != "usage"]
