"""However often enterprises file, and whatever becomes of it, they are paid the same in all."""

from contextlib import suppress
from datetime import timedelta
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from caravan.contracts.funds import HoldStatus
from caravan.contracts.offerings import Tier
from caravan.contracts.prices import PriceList
from caravan.contracts.problems import NothingDue
from caravan.contracts.programmes import Programme, ProgrammeDraft, Settles
from caravan.contracts.reimbursements import ReimbursementDraft, ReimbursementPaymentDraft
from caravan.contracts.vouchers import RefusalRule, ReviewDraft
from caravan.kernel.database import Database
from caravan.kernel.money import Money
from caravan.kernel.tokens import Caller
from services.accounting.funds.models import HoldRow
from services.accounting.periods import closing
from services.accounting.programmes import pools
from services.accounting.programmes.service import create, publish
from services.accounting.reimbursements import deciding, dues, filing
from services.accounting.reimbursements.models import ReimbursementRow
from services.accounting.reimbursements.verify import verify
from services.accounting.usage import copies
from services.accounting.usage.models import OfferingCopy
from services.accounting.vouchers.models import ApplicationRow, VoucherRow
from tests.accounting.books import AT, ORG, OTHER_ORG, PRV, identifier, line, party_copies, period_at
from tests.accounting.examples import examples
from tests.accounting.programmes_cases import ENTERPRISE, programme
from tests.accounting.test_histories import Undone
from tests.accounting.world import T0, tariff

END: Final = AT + timedelta(days=1000)
MONTHS: Final = 4
PASSES: Final = ReviewDraft(passed=True, reason="材料齐全")
FAILS: Final = ReviewDraft(passed=False, reason="发票不符", rule=RefusalRule.EVIDENCE, remedy="补交付款回单")
OFFICE: Final = [Caller(f"reviewer-{number}", frozenset({"platform:programmes"})) for number in (1, 2)]

used = st.lists(
    st.tuples(st.integers(-90_000, 400_000).filter(bool), st.integers(0, MONTHS - 1), st.booleans()),
    min_size=3,
    max_size=8,
)
"""Core-seconds that are used or taken back, in which month they come, and whether they are of the first one."""
ends = st.lists(st.sampled_from(["paid", "refused", "withdrawn", "none"]), min_size=MONTHS, max_size=MONTHS)
"""What becomes of what is filed after the close of each month; none: nothing is filed."""
rules = st.fixed_dictionaries(
    {
        "settles": st.sampled_from(Settles),
        "floor": st.integers(0, 300).map(lambda fen: str(Money(fen))),
        "rates": st.integers(1000, 10_000).map(lambda rate: [{"rate": rate}]),
    }
)


@settings(examples(20, 1000), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(used=used, ends=ends, terms=rules, most=st.integers(100, 15_000))
async def test_in_whatever_rhythm_is_claimed_the_same_is_paid_in_all(
    db: Database, used: list[tuple[int, int, bool]], ends: list[str], terms: dict[str, object], most: int
) -> None:
    """One organization files as `ends` says, another one after all months; of the same lines."""

    def unit(tx: Session) -> None:
        published = known(tx, programme(mode="reimbursed", **terms))
        vouchers = {who: voucher(tx, number, who, published, most) for number, who in enumerate((ORG, OTHER_ORG))}
        months = [period_at(tx, AT + timedelta(days=31 * month)) for month in range(MONTHS)]
        for month, (period, end) in enumerate(zip(months, ends, strict=True)):
            for number, (quantity, comes, first) in enumerate(used):
                if comes == month:
                    corrects = months[0] if first and month else ""
                    for half, who in enumerate(vouchers):
                        billed(tx, number * 2 + half, who, period, quantity, corrects)
            closing._start(tx, period, END, timedelta())
            assert closing.finish(tx, period, END)
            if end != "none":
                claim(tx, ORG, published, end)
            assert list(verify(tx)) == []
        found = []
        for who, id in vouchers.items():
            claim(tx, who, published, "paid")
            own = (ReimbursementRow.organization == who) & (ReimbursementRow.state == "paid")
            paid = sum(tx.scalars(select(ReimbursementRow.amount).where(own)))
            left = dues.unfiled(tx, who, published, published.id, END)
            due, _ = dues.totals(tx, id)
            assert paid + left.amount == due <= most
            assert left.amount <= 0 and not left.waits
            found.append(due)
        assert found[0] == found[1]
        raise Undone

    with pytest.raises(Undone):
        await db.write(unit)


def known(tx: Session, draft: ProgrammeDraft) -> Programme:
    """The programme, published, with what it is about."""
    party_copies(tx)
    tx.execute(insert(OfferingCopy).values(id=identifier("off", 1), provider=PRV, tier=Tier.HPC.value, version=1))
    prices = PriceList(
        id=identifier("prl", 1),
        offering=identifier("off", 1),
        revision=1,
        created_at=T0,
        tariffs=(tariff("base", None, None, cpu_core_hour="0.35"),),
    )
    copies.price_list(tx, {"data": prices.model_dump(mode="json")})
    made = create(tx, draft, OFFICE[0], T0)
    return publish(tx, made.id, made.version, OFFICE[0], T0)


def voucher(tx: Session, number: int, who: str, of: Programme, most: int) -> str:
    """Good for all jobs of the test. Its id."""
    common = {"programme": of.id, "organization": who, "amount": most}
    asked = identifier("vap", number)
    applied = {"state": "issued", "version": 1, "applied_at": T0, "applied_by": "somebody"}
    tx.execute(insert(ApplicationRow).values(**common, id=asked, enterprise=ENTERPRISE, **applied))
    id = identifier("vou", number)
    tx.execute(
        insert(VoucherRow).values(
            **common,
            id=id,
            application=asked,
            year=2026,
            kinds=[],
            affiliates=[],
            state="issued",
            issued_at=T0,
            expires_at=END,
        )
    )
    assert pools.commit(tx, of.id, 2026, most)
    return id


def billed(tx: Session, number: int, who: str, period: str, quantity: int, corrects: str) -> None:
    """A line, of a job of its own."""
    made = line(tx, number, period, quantity, organization=who, corrects=corrects)
    held = {"amount": 10**9, "captured": 0, "status": HoldStatus.OPEN.value, "submitted_at": AT, "revision": 1}
    tx.execute(insert(HoldRow).values(job=made["job"], organization=who, project=made["project"], **held))


def claim(tx: Session, who: str, of: Programme, end: str) -> None:
    """File what is due, if anything is, and let that become of it."""
    admin = Caller("admin", frozenset({f"org/{who}:admin"}))
    with suppress(NothingDue):
        made = filing.file(tx, ReimbursementDraft(organization=who, programme=of.id), admin.subject, END)
        deciding.store(tx, made.id, "receipt.pdf", b"%PDF", admin, END)
        if end == "withdrawn":
            filing.withdraw(tx, made.id, admin)
        elif end == "refused":
            reviewed(tx, made.id, FAILS)
        else:
            reviewed(tx, made.id, PASSES, PASSES)
            payment = ReimbursementPaymentDraft(reference="XAFB-1", paid_on=END.date())
            deciding.pay(tx, made.id, payment, "finance", END)


def reviewed(tx: Session, id: str, *drafts: ReviewDraft) -> None:
    for reviewer, draft in zip(OFFICE, drafts, strict=False):
        version = tx.execute(select(ReimbursementRow.version).where(ReimbursementRow.id == id)).scalar_one()
        deciding.review(tx, id, draft, version, reviewer, END)
