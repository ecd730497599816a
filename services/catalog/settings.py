"""The catalog's settings: those that all services share."""

from caravan.kernel.settings import Settings as Settings
