"""Who may act for a site: its agent, or the broker's embedded one, while it holds the newest epoch of the site's lease."""

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
    """To be called in the transaction that it is to fence. Raises NotFound, LeaseLost."""
    if not may_act(caller, site):
        raise NotFound
    try:
        leases.check(tx, lease_name(site), epoch)
    except leases.Fenced as fenced:
        raise LeaseLost(epoch=fenced.epoch) from None
