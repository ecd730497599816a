"""Calendars: which days are holidays, and which weekends are worked, as an administrator published them for each year.

Owns the years; begins with those that a known library covers. A year that is published anew makes new revisions of the price lists
that go by it: what was placed before is charged by the calendar of then. Never prices anything. Open `service.py` first.
"""
