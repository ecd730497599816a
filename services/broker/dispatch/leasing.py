"""Who may act for a site: its agent, or the broker's embedded one, while it holds the newest epoch of the site's lease."""

from collections.abc import Callable

from sqlalchemy.orm import Session

from caravan.contracts.problems import LeaseLost
from caravan.kernel import leases
from caravan.kernel.problems import NotFound
from caravan.kernel.tokens import Caller


def lease_name(site: str) -> str:
    return f"site:{site}"


def may_act(caller: Caller, site: str) -> bool:
    return caller.is_agent(site) or caller.is_service("broker")


def check(tx: Session, site: str, epoch: int, caller: Caller) -> None:
    """For reads. Raises NotFound, LeaseLost."""
    _newest(leases.check, tx, site, epoch, caller)


def fence(tx: Session, site: str, epoch: int, caller: Caller) -> None:
    """For writes: no other agent reads this site's work before `tx` has ended. Raises NotFound, LeaseLost."""
    _newest(leases.fence, tx, site, epoch, caller)


def _newest(asked: Callable[[Session, str, int], None], tx: Session, site: str, epoch: int, caller: Caller) -> None:
    if not may_act(caller, site):
        raise NotFound
    try:
        asked(tx, lease_name(site), epoch)
    except leases.Fenced as fenced:
        raise LeaseLost(epoch=fenced.epoch) from None
