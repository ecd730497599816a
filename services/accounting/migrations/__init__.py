"""Accounting's schema, for both engines: `versions/` in order; triggers stand in `0002_guards.py`, listed in `triggers.txt`."""
