"""Accounting's settings: those of every service."""

from caravan.kernel.settings import Settings

__all__ = ["Settings"]
