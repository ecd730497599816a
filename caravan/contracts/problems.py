"""Every problem of the domain. The docstring is what a person reads; the client raises the same classes."""

from caravan.contracts.base import Instant, Second, Words
from caravan.contracts.explanations import TimeSpan
from caravan.contracts.ids import ContestId, RunId
from caravan.contracts.programmes import Unmet
from caravan.contracts.quotes import Refusal
from caravan.contracts.vouchers import Cap
from caravan.kernel.money import Money
from caravan.kernel.problems import Problem


class NotSupportedHere(Problem):
    """The request uses a feature that this installation does not have; `errors` names it. Leave it out and send again."""

    status, code = 422, "not_supported_here"
    title, title_zh = "Not supported here", "本平台暂不支持"


class NoOfferingFits(Problem):
    """No offering can run this job, whatever its load; `refused` has every reason of each. Nothing was stored."""

    status, code = 422, "no_offering_fits"
    title, title_zh = "No offering fits", "没有可用的算力产品"
    refused: tuple[Refusal, ...]


class InsufficientFunds(Problem):
    """The organization's funds don't cover the hold. Deposit more, or ask for less: `fits` would be granted now.

    The job is stored as refused; send a new one, with a new key, after topping up.
    """

    status, code = 402, "insufficient_funds"
    title, title_zh = "Insufficient funds", "余额不足"
    job: str
    limit: Money
    held: Money
    asked: Money
    fits: Money
    walltime_seconds_that_fits: int | None


class BudgetExceeded(Problem):
    """The hold would pass a budget. Shorten the walltime, ask for less or raise the budget: `fits` would be granted now.

    The job is stored as refused; send a new one, with a new key.
    """

    status, code = 402, "budget_exceeded"
    title, title_zh = "Budget exceeded", "超出预算"
    job: str
    budget: str
    budget_name: str
    limit: Money
    held: Money
    asked: Money
    fits: Money
    walltime_seconds_that_fits: int | None


class ResellerFundsShort(Problem):
    """Who sells this to your organization can't buy it from the centre now: its own funds or budget are short. Ask it to deposit more,
    or choose an offering that it doesn't sell.

    The job is stored as refused; send a new one, with a new key.
    """

    status, code = 402, "reseller_funds_short"
    title, title_zh = "The reseller's funds are short", "转售方余额不足"
    job: str
    reseller: str


class ResaleConflict(Problem):
    """For some time an organization would have two resellers, or be reseller and member at once. `errors` names it; `existing` is the
    agreement in the way: end that first, or choose another time.
    """

    status, code = 409, "resale_conflict"
    title, title_zh = "In the way of another resale agreement", "与已有转售协议冲突"
    existing: str


class NotPriced(Problem):
    """No tariff of the offering's newest price list covers `uncovered`. Ask for another time, or have a price list published that does."""

    status, code = 422, "not_priced"
    title, title_zh = "No price for that time", "该时间没有价格"
    uncovered: tuple[TimeSpan, ...]


class WrongState(Problem):
    """The thing is in a state that doesn't allow this; `state` is what it is in now and `allowed` what it would have to be in."""

    status, code = 409, "wrong_state"
    title, title_zh = "Not in this state", "当前状态不允许"
    state: str
    allowed: tuple[str, ...]


class AttemptMissing(Problem):
    """Nothing says by which prices this would be billed: its attempt, price list or hold isn't here. Wait for that, or discard it."""

    status, code = 409, "attempt_missing"
    title, title_zh = "Attempt, price list or hold not known", "缺少作业尝试、价目表或预留"


class IdentityTaken(Problem):
    """Another run at its site, `run`, has the same identity of the backend's: one allocation would be billed twice. It is listed as
    `identity_taken` from now on: discard it, or accept it again if the site shows that there were two allocations."""

    status, code = 409, "identity_taken"
    title, title_zh = "Another run has this identity", "标识属于另一运行"
    run: str


class AlreadyExists(Problem):
    """There is one already, with another content; `existing` is its id."""

    status, code = 409, "already_exists"
    title, title_zh = "It exists already", "已存在"
    existing: str


class UnknownReference(Problem):
    """The request refers to something that doesn't exist or that you may not see; `errors` names the field."""

    status, code = 422, "unknown_reference"
    title, title_zh = "It refers to something unknown", "引用的对象不存在"


class SettingsRefused(Problem):
    """The settings don't match the adapter's schema; `errors` names each place."""

    status, code = 422, "settings_refused"
    title, title_zh = "Settings refused", "设置不符合要求"


class AdapterUnknown(Problem):
    """No agent or broker has announced this adapter yet, so its settings can't be checked.

    Start an agent that has it, or choose one of `known`.
    """

    status, code = 422, "adapter_unknown"
    title, title_zh = "Unknown adapter", "未知的适配器"
    known: tuple[str, ...]


class NotPublishable(Problem):
    """The offering can't be activated yet; `errors` says what is missing."""

    status, code = 409, "not_publishable"
    title, title_zh = "Not publishable yet", "尚不能发布"


class ProviderNotApproved(Problem):
    """The provider isn't approved, so it can't do this yet. The platform's operator approves applications."""

    status, code = 409, "provider_not_approved"
    title, title_zh = "Provider not approved", "算力中心尚未获批"


class LeaseLost(Problem):
    """Another agent holds this site's lease now. Stop acting, and ask for the lease again."""

    status, code = 409, "lease_lost"
    title, title_zh = "Lease lost", "租约已失效"
    epoch: int


class LeaseTaken(Problem):
    """Another agent holds this site's lease until `until`."""

    status, code = 409, "lease_taken"
    title, title_zh = "Lease taken", "租约被占用"
    ordinary = True
    until: Instant


class LogUnavailable(Problem):
    """The site's agent did not answer in time, so the output can't be read now. Try again."""

    status, code = 503, "log_unavailable"
    title, title_zh = "Output not available now", "暂时无法读取输出"
    headers = {"Retry-After": "2"}


class NoLogYet(Problem):
    """This task has produced no output that can be read: it has not been released to its site, or has ended without a run, or its site
    has kept its output for long enough.
    """

    status, code = 409, "no_log_yet"
    title, title_zh = "No output yet", "尚无输出"


class PeriodCutRefused(Problem):
    """Usage at or after that second has been applied, or it lies outside the open period; `earliest` is the earliest second allowed."""

    status, code = 409, "period_cut_refused"
    title, title_zh = "The period can't be cut there", "不能在该时刻切分账期"
    earliest: Second


class PeriodFrozen(Problem):
    """A period that is closed would go by this, and what it went by never changes. Let it start at `earliest` or later."""

    status, code = 409, "period_frozen"
    title, title_zh = "A closed period would go by this", "涉及已关闭的账期"
    earliest: Second


class TaxRuleMissing(Problem):
    """No tax rule of the platform's own service holds when the agreement starts. Post one for seller `platform` first."""

    status, code = 409, "tax_rule_missing"
    title, title_zh = "A tax rule is missing", "缺少税务规则"


class SecondPersonNeeded(Problem):
    """Who proposed or contested this can't decide it, too: ask another person of finance."""

    status, code = 409, "second_person_needed"
    title, title_zh = "A second person has to decide this", "须由另一人决定"


class NotContestable(Problem):
    """The provider doesn't bear this run by how it ended, or a contest of it was upheld: there is nothing to contest."""

    status, code = 409, "not_contestable"
    title, title_zh = "Nothing to contest", "没有可申诉的内容"


class ContestOpen(Problem):
    """This run is contested already, and `contest` is not decided yet. Wait for the decision."""

    status, code = 409, "contest_open"
    title, title_zh = "Contested already", "已有申诉待处理"
    contest: ContestId


class ContestDecided(Problem):
    """This contest is decided, and stays so. The provider may contest the run again."""

    status, code = 409, "contest_decided"
    title, title_zh = "Already decided", "申诉已有决定"


class ContestOverlaps(Problem):
    """Seconds of this run are billed already, as those of `runs`, which ran the same array task. Dismiss the contest; or uphold it with
    `overlap`, if both were there: then they are billed twice.
    """

    status, code = 409, "contest_overlaps"
    title, title_zh = "Billed already", "相同的秒已经计费"
    runs: tuple[RunId, ...]


class HoldOutdated(Problem):
    """A later revision of this hold is in force, or the hold is settled."""

    status, code = 409, "hold_outdated"
    title, title_zh = "The hold has moved on", "冻结已更新"
    revision: int


class NotEligible(Problem):
    """The enterprise doesn't meet rules of the programme; `unmet` says what would meet each. Nothing was stored."""

    status, code = 422, "not_eligible"
    title, title_zh = "Not eligible", "不符合申请条件"
    unmet: tuple[Unmet, ...]


class ProgrammeClosed(Problem):
    """The programme takes applications from `starts_at` on, until `ends_at`."""

    status, code = 409, "programme_closed"
    title, title_zh = "It takes no applications now", "不在申请期内"
    starts_at: Second
    ends_at: Second


class AboveCap(Problem):
    """A voucher of this programme is not for so much; `cap` is the rule, and `most` would do. What is applied for is left again once it is
    withdrawn or refused.
    """

    status, code = 422, "above_cap"
    title, title_zh = "Above what may be applied for", "超出可申请金额"
    cap: Cap
    most: Money
    words: Words


class SameReviewer(Problem):
    """Who asked for this, attached one of its files, or reviewed it before, can't review it: ask another person of the office."""

    status, code = 409, "same_reviewer"
    title, title_zh = "Another person has to review this", "须由另一人审核"


class VoucherCap(Problem):
    """The enterprise would be issued more in `year` than the programme allows; `most` would do. Issue it in another year, or have a smaller
    amount applied for.
    """

    status, code = 409, "voucher_cap"
    title, title_zh = "Above what is issued to an enterprise in a year", "超出企业年度额度"
    year: int
    most: Money


class PoolExhausted(Problem):
    """The programme's pool of `year` doesn't cover this voucher; `left` is left. Raise the pool, or have a smaller amount applied for."""

    status, code = 409, "pool_exhausted"
    title, title_zh = "The pool is exhausted", "资金池余额不足"
    year: int
    left: Money


class NothingDue(Problem):
    """Nothing above zero is due now, so there is nothing to claim: `amount` is set off against what is due next. `waits` is due of spans
    that aren't over, or whose periods aren't all closed; the first of these is over at `waits_until` (null: there are none).
    """

    status, code = 409, "nothing_due"
    title, title_zh = "There is nothing to claim yet", "暂无可申报金额"
    amount: Money
    waits: Money
    waits_until: Instant | None


class NothingOwed(Problem):
    """The organization owes nothing of this programme: `amount` is due to it."""

    status, code = 409, "nothing_owed"
    title, title_zh = "There is nothing to pay back", "无应退回金额"
    amount: Money


class EvidenceNeeded(Problem):
    """Nothing bears out that it was paid: have the enterprise attach proof of payment, or refuse it and say so."""

    status, code = 409, "evidence_needed"
    title, title_zh = "Proof of payment is needed", "缺少付款凭证"


class ConsentNeeded(Problem):
    """The `local` adapter runs jobs on the machine of the site's agent.

    In production the site's settings must say `"i_accept_jobs_on_this_machine": true`. Where the agent is the platform's own, its
    operator must agree as well (`CARAVAN_JOBS_ON_THIS_MACHINE`), or the site stays `refused`.
    """

    status, code = 422, "consent_needed"
    title, title_zh = "Consent needed", "需要明确同意"
