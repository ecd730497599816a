"""Money for jobs: what to ask accounting for, and what its answer changes. Functions within a transaction.

A hold is one amount for the whole job. Its revision grows with each new amount; an answer to an older revision changes nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypedDict

from sqlalchemy import BigInteger, bindparam, func, select, type_coerce
from sqlalchemy.orm import Session

from caravan.contracts import events
from caravan.contracts.dispatch import Desired, Grant
from caravan.contracts.funds import FundsLimit, HoldAnswer, HoldRequest, HoldUse, ResaleHold
from caravan.contracts.jobs import AttemptState, HoldState, JobState, PendingReason
from caravan.contracts.offerings import PreemptedBearer
from caravan.contracts.prices import Buyer
from caravan.contracts.problems import BudgetExceeded, HoldOutdated, InsufficientFunds, ResellerFundsShort
from caravan.contracts.usage import AttemptPlaced, JobNamed, Resale
from caravan.kernel import clock, feed
from caravan.kernel.database import table_of
from caravan.kernel.money import Money
from caravan.kernel.prepared import Fetched, Prepared
from caravan.kernel.problems import Problem
from caravan.pricing import WorstCase, prices_for, worst_case, worst_of_all
from services.broker.dispatch.wanted import want_started
from services.broker.jobs import store
from services.broker.jobs.models import AttemptRow, JobRow, RunRow, TaskRow
from services.broker.jobs.states import NOT_CHARGED
from services.broker.placement.copies import price_list_of
from services.broker.placement.decide import Option

RESCUE: Final = timedelta(seconds=10)
"""When the loop asks for a hold whose request may have died on the way."""
ASK_AGAIN: Final = timedelta(seconds=2)
_attempts = table_of(AttemptRow)
_STARTED: Final = Prepared(
    select(_attempts).where(_attempts.c.job == bindparam("of_job"), _attempts.c.work.is_not(None))
)
_UNFUNDED: Final = Prepared(
    select(_attempts).where(
        _attempts.c.job == bindparam("of_job"), _attempts.c.state == AttemptState.PLANNED, _attempts.c.work.is_(None)
    )
)
"""Attempts that wait for their money: no site has heard of them."""
_MICROSECONDS: Final = type_coerce(RunRow.ended_at, BigInteger) - type_coerce(RunRow.started_at, BigInteger)


@dataclass(frozen=True)
class Ask:
    """A hold revision to be put to accounting."""

    job: str
    request: HoldRequest


Answered = HoldAnswer | HoldOutdated | None
"""Accounting's answer to an Ask; None: it can't be reached now."""


def fund(tx: Session, row: JobRow, ahead: Option, wholesale: WorstCase | None) -> Ask | None:
    """Ask for what is needed in all, for what is `ahead` and for earlier attempts, unless just that is held already: then let it start.

    `wholesale`: of what is ahead, what the job's reseller buys. Once asked for any, it is asked with each revision.
    """
    started = _STARTED.all(tx, of_job=row.id) if row.attempts else ()
    needed = _needed(tx, ahead.worst, [(attempt, _retail(row, attempt)) for attempt in started])
    resold = [(attempt, terms) for attempt in started if (terms := _wholesale(attempt)) is not None]
    resale = _needed(tx, wholesale, resold) if wholesale or resold or row.resale_fen is not None else None
    uses = [attempt.use for attempt in started if attempt.state != AttemptState.ENDED and attempt.use is not None]
    uses.append(ahead.use.model_dump(mode="json"))
    held = row.granted_fen, row.resale_granted_fen, row.hold_ahead
    if row.hold_state == HoldState.GRANTED and held == (needed, resale, uses):
        row.wake_at = None
        _start(tx, row)
        return None
    row.hold_revision += 1
    row.hold_fen, row.resale_fen, row.hold_ahead = needed, resale, uses
    row.hold_state = HoldState.UNCONFIRMED
    row.wake_at = clock.now() + RESCUE
    return ask_for(row)


def ask_for(row: JobRow) -> Ask:
    resale = None
    if row.reseller is not None and row.resale_fen is not None:
        resale = ResaleHold(**row.reseller, amount=Money(row.resale_fen))
    return Ask(
        row.id,
        HoldRequest(
            revision=row.hold_revision,
            organization=row.organization,
            project=row.project,
            amount=Money(row.hold_fen),
            submitted_at=row.created_at,
            ahead=tuple(HoldUse.model_validate(use) for use in row.hold_ahead),
            resale=resale,
        ),
    )


@dataclass(frozen=True)
class _Terms:
    """By what one side buys an attempt, and its worst case."""

    price_list: str
    buyer: Buyer
    worst_fen: int


def _retail(row: JobRow, attempt: Fetched) -> _Terms:
    buyer = Buyer(organization=row.organization, price_class=attempt.price_class, options=attempt.options)
    return _Terms(attempt.price_list, buyer, attempt.worst_fen)


def _wholesale(attempt: Fetched) -> _Terms | None:
    if attempt.resale is None:
        return None
    resale = Resale.model_validate(attempt.resale)
    buyer = Buyer(organization=resale.reseller, price_class=resale.price_class, options=resale.options)
    return _Terms(resale.price_list, buyer, attempt.resale_worst_fen)


def _needed(tx: Session, ahead: WorstCase | None, started: Sequence[tuple[Fetched, _Terms]]) -> int:
    """In fen, for what is ahead and these attempts."""
    ended = [
        worst
        for attempt, terms in started
        if attempt.state == AttemptState.ENDED
        for worst in _owed(tx, attempt, terms)
    ]
    open_fen = sum(terms.worst_fen for attempt, terms in started if attempt.state != AttemptState.ENDED)
    return worst_of_all([ahead, *ended] if ahead else ended).fen + open_fen


def _owed(tx: Session, attempt: Fetched, terms: _Terms) -> Iterator[WorstCase]:
    """The most that an ended attempt may charge its buyer, if anything: for runs that the provider bears, nothing."""
    free = NOT_CHARGED[PreemptedBearer(attempt.preempted_borne_by)]
    runs, longest = tx.execute(
        select(func.count(), func.max(_MICROSECONDS)).where(RunRow.attempt == attempt.id, RunRow.outcome.not_in(free))
    ).one()
    if runs:
        ran = Grant.model_validate(attempt.grant | {"max_seconds": max(1, longest // 1_000_000)})
        prices = prices_for(price_list_of(tx, terms.price_list), terms.buyer)
        yield worst_case(ran, runs, prices, clock.to_seconds(attempt.created_at))


def decided(tx: Session, ask: Ask, answer: Answered) -> JobRow:
    """Apply accounting's answer, if it is to the revision that the job waits for. Returns the job."""
    with store.changing(tx, ask.job) as row:
        _apply(tx, row, ask, answer)
    return row


def _apply(tx: Session, row: JobRow, ask: Ask, answer: Answered) -> None:
    asked = ask.request.revision
    if row.hold_state != HoldState.UNCONFIRMED or row.hold_revision != asked or JobState(row.state).final:
        return
    now = clock.now()
    if answer is None:
        row.reason = row.reason or PendingReason.FUNDS_UNCONFIRMED
        row.wake_at = now + ASK_AGAIN
        row.version += 1
    elif isinstance(answer, HoldOutdated):
        _outdated(tx, row, answer.revision, now)
    elif answer.granted:
        _granted(tx, row, now)
    else:
        row.refusal = answer.model_dump(mode="json")
        _refuse(tx, row, _why_short(answer), now)


def _why_short(answer: HoldAnswer) -> str:
    if answer.short is FundsLimit.RESELLER:
        return "The funds of its reseller did not cover what that would have bought of it"
    short = f"budget {answer.budget_name}" if answer.short is FundsLimit.BUDGET else "funds"
    return f"Its {short} did not cover {answer.asked}; {answer.fits} would have been granted"


def _granted(tx: Session, row: JobRow, now: datetime) -> None:
    row.hold_state, row.granted_fen, row.resale_granted_fen = HoldState.GRANTED, row.hold_fen, row.resale_fen
    if row.reason == PendingReason.FUNDS_UNCONFIRMED:
        row.reason = None
    # Room that came while the money was asked for has woken it in vain.
    row.wake_at = now if store.is_next(tx, row.id) else None
    row.version += 1
    why = "" if row.hold_revision == 1 else "what the job may cost at most has changed"
    store.note(tx, row.id, "hold.granted", why, at=now, amount=str(Money(row.hold_fen)), revision=row.hold_revision)
    _start(tx, row)


def _start(tx: Session, row: JobRow) -> None:
    """The money is there: let the site have the planned attempt, and tell accounting whose it is."""
    if not row.attempts:
        return
    for attempt in _UNFUNDED.all(tx, of_job=row.id):
        if attempt.number == 1:
            feed.fact(tx, events.JOB_NAMED, row.id, JobNamed(job=row.id, name=row.name))
        feed.fact(
            tx,
            events.ATTEMPT_PLACED,
            row.id,
            AttemptPlaced(
                attempt=attempt.id,
                job=row.id,
                organization=row.organization,
                project=row.project,
                offering=attempt.offering,
                site=attempt.site,
                provider=attempt.provider,
                price_list=attempt.price_list,
                price_class=attempt.price_class,
                options=attempt.options,
                grant=Grant.model_validate(attempt.grant),
                resale=None if attempt.resale is None else Resale.model_validate(attempt.resale),
                preempted_borne_by=PreemptedBearer(attempt.preempted_borne_by),
                placed_at=clock.floor_second(attempt.created_at),
            ),
        )
        want_started(tx, attempt.id, attempt.site)


def _outdated(tx: Session, row: JobRow, known: int, now: datetime) -> None:
    """Accounting knows more of the job than this broker, which was restored from a backup: pass its revision, or give up."""
    if known < row.hold_revision:
        _refuse(tx, row, "Accounting has settled this job already", now)
        return
    row.hold_revision = known + 1
    store.wake(tx, row.id)


def _refuse(tx: Session, row: JobRow, detail: str, now: datetime) -> None:
    """The money isn't there: what was planned is undone, and what waited for it ends. What was granted before stays so."""
    row.detail = detail
    asked = row.hold_fen
    row.hold_state = HoldState.REFUSED
    if row.granted_fen is not None:
        row.hold_state, row.hold_fen, row.resale_fen = HoldState.GRANTED, row.granted_fen, row.resale_granted_fen
        row.hold_ahead = []
    waiting = [attempt.id for attempt in _UNFUNDED.all(tx, of_job=row.id)]
    unfunded = tx.scalars(select(AttemptRow).where(AttemptRow.id.in_(waiting))).all()
    for attempt in unfunded:
        attempt.desired = Desired.NOTHING
        store.end_attempt(tx, attempt, now, "not funded")
    store.note(tx, row.id, "hold.refused", detail, at=now, asked=str(Money(asked)), revision=row.hold_revision)
    nowhere = TaskRow.attempt.is_(None) | TaskRow.attempt.in_([attempt.id for attempt in unfunded])
    pending = tx.scalars(select(TaskRow.index).where(TaskRow.job == row.id, nowhere)).all()
    ran = tx.execute(select(RunRow.id).where(RunRow.job == row.id).limit(1)).first() is not None
    target = JobState.FAILED if ran else JobState.REFUSED
    store.move_tasks(tx, row, pending, [JobState.PENDING], target, detail=detail)
    store.follow_tasks(tx, row, now)


class _Short(TypedDict):
    """What a 402 of the organization's own limits says."""

    job: str
    limit: Money
    held: Money
    asked: Money
    fits: Money
    walltime_seconds_that_fits: int | None


def problem_of(row: JobRow, answer: HoldAnswer, walltime_seconds_that_fits: int | None) -> Problem:
    """The 402 that says which limit was short."""
    if answer.short is FundsLimit.RESELLER and row.reseller is not None:
        return ResellerFundsShort(job=row.id, reseller=row.reseller["organization"])
    zero = Money(0)
    common = _Short(
        job=row.id,
        limit=answer.limit or zero,
        held=answer.held or zero,
        asked=answer.asked or zero,
        fits=answer.fits or zero,
        walltime_seconds_that_fits=walltime_seconds_that_fits,
    )
    if answer.short is FundsLimit.BUDGET:
        return BudgetExceeded(budget=answer.budget or "", budget_name=answer.budget_name or "", **common)
    return InsufficientFunds(**common)
