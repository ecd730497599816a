"""Estimates: what a programme would have paid for what was used, and how long its pool lasts.

Writes nothing. Owns no rule of what vouchers pay: it asks `redemptions/claiming.py`, as closing a period does. Open `previewing.py` first.
"""
