"""Imports: runs by a centre's own books, and sums of usage over them and what was metered.

Owns imported runs. Never charges them, and never counts one that was metered too. Open `service.py` first, `sums.py` for the
arithmetic.
"""
