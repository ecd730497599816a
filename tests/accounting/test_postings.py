"""What a fact does to accounts: properties of the pure postings, and a model of an organization's account."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.accounting.ledger import postings
from services.accounting.ledger.postings import Posting
from services.accounting.tax.spreading import tax_of

NET = st.integers(-(10**9), 10**9)
CHANGE = st.integers(-(10**9), 10**9).filter(bool)
AMOUNT = st.integers(1, 10**9)
PREPAID, RECEIVABLE, PAYABLE = postings.prepaid("o"), postings.receivable("o"), postings.payable("p")


def of(entry: tuple[Posting, ...]) -> dict[str, int]:
    return {posting.account: posting.amount for posting in entry}


@given(NET, CHANGE)
def test_a_charge_sums_to_zero_and_names_each_account_once(net: int, delta: int) -> None:
    entry = postings.charge("o", "p", net, delta)
    assert sum(posting.amount for posting in entry) == 0
    assert len(of(entry)) == len(entry) >= 2
    assert all(posting.amount for posting in entry)
    assert of(entry)[PAYABLE] == -delta


@given(NET, AMOUNT)
def test_a_deposit_sums_to_zero_and_debits_the_bank(net: int, amount: int) -> None:
    entry = postings.deposit("o", net, amount)
    assert sum(posting.amount for posting in entry) == 0
    assert len(of(entry)) == len(entry) >= 2
    assert of(entry)[postings.BANK] == amount


@given(NET, CHANGE)
def test_a_charge_taken_back_is_the_mirror(net: int, delta: int) -> None:
    there = of(postings.charge("o", "p", net, delta))
    back = of(postings.charge("o", "p", net - delta, -delta))
    assert back == {account: -amount for account, amount in there.items()}


@given(CHANGE, st.integers(0, 10_000))
def test_a_fee_sums_to_zero_and_is_taken_from_what_the_provider_is_owed(amount: int, rate: int) -> None:
    tax = tax_of(amount, rate)
    entry = postings.fee("p", amount - tax, tax)
    assert sum(posting.amount for posting in entry) == 0
    assert len(of(entry)) == len(entry) >= 2
    assert of(entry)[PAYABLE] == amount
    assert -of(entry).get(postings.OUTPUT_TAX, 0) == tax


def test_a_charge_takes_what_is_prepaid_and_then_what_is_receivable() -> None:
    assert of(postings.charge("o", "p", 100, 30)) == {PREPAID: 30, PAYABLE: -30}
    assert of(postings.charge("o", "p", 100, 130)) == {PREPAID: 100, RECEIVABLE: 30, PAYABLE: -130}
    assert of(postings.charge("o", "p", -5, 130)) == {RECEIVABLE: 130, PAYABLE: -130}


def test_a_deposit_pays_what_is_owed_and_the_rest_is_prepaid() -> None:
    assert of(postings.deposit("o", -100, 30)) == {"bank": 30, RECEIVABLE: -30}
    assert of(postings.deposit("o", -100, 130)) == {"bank": 130, RECEIVABLE: -100, PREPAID: -30}
    assert of(postings.deposit("o", 0, 130)) == {"bank": 130, PREPAID: -130}


class AccountModel(RuleBasedStateMachine):
    """Deposits, charges and reversals in any order, against deposits less charges."""

    def __init__(self) -> None:
        super().__init__()
        self.balances: Counter[str] = Counter()
        self.deposited = 0
        self.charged: Counter[str] = Counter()

    def post(self, entry: tuple[Posting, ...]) -> None:
        for posting in entry:
            self.balances[posting.account] += posting.amount

    @property
    def net(self) -> int:
        return -self.balances[PREPAID] - self.balances[RECEIVABLE]

    @rule(amount=AMOUNT)
    def deposit(self, amount: int) -> None:
        self.post(postings.deposit("o", self.net, amount))
        self.deposited += amount

    @rule(provider=st.sampled_from("pq"), delta=CHANGE)
    def charge(self, provider: str, delta: int) -> None:
        self.post(postings.charge("o", provider, self.net, delta))
        self.charged[provider] += delta

    @rule(provider=st.sampled_from("pq"))
    def reverse_everything(self, provider: str) -> None:
        if delta := -self.charged[provider]:
            self.charge(provider, delta)

    @invariant()
    def prepaid_and_receivable_are_what_the_net_says(self) -> None:
        net = self.deposited - self.charged.total()
        assert -self.balances[PREPAID] == max(net, 0)
        assert self.balances[RECEIVABLE] == max(-net, 0)

    @invariant()
    def each_provider_is_owed_what_was_charged(self) -> None:
        assert all(-self.balances[postings.payable(p)] == self.charged[p] for p in "pq")
        assert sum(self.balances.values()) == 0


TestAccountModel = AccountModel.TestCase
