"""The broker's facts, applied. All facts of one job have one subject, so they come in order; each one here also bears any other order.

A fact that refers to what isn't here yet raises NotHereYet: the follower parks it, and tries again when more has come.
"""

from typing import Any

from sqlalchemy.orm import Session

from caravan.contracts import events
from caravan.contracts.usage import AttemptPlaced
from caravan.kernel import clock
from caravan.kernel.feed import upsert
from caravan.kernel.follow import Handler
from services.accounting.periods.service import follow_site_progress
from services.accounting.usage.models import AttemptCopy


class NotHereYet(LookupError):
    """The fact refers to something that has not arrived."""


def attempt_placed(tx: Session, event: dict[str, Any]) -> None:
    attempt = AttemptPlaced.model_validate(event["data"])
    values = attempt.model_dump(exclude={"attempt"}) | {"id": attempt.attempt}
    tx.execute(upsert(tx, AttemptCopy).values(values).on_conflict_do_nothing())


def handlers(now: clock.Clock) -> dict[str, Handler]:
    """What a follower of the broker needs; `now` dates what is made of the facts."""
    return {events.ATTEMPT_PLACED: attempt_placed, events.SITE_PROGRESS: follow_site_progress}
