"""Brings stored lines up to a job's facts, and posts the differences."""

from datetime import datetime

from sqlalchemy.orm import Session


def recharge(tx: Session, job: str, at: datetime) -> None:
    """Compute the job's lines from all its facts."""
    raise NotImplementedError
