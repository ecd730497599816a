"""Reconciling: each night the books are held against each other, and what doesn't hold is kept for finance to read.

Owns when that is done and what was found, and the sites' own books until then. What is right is said elsewhere: `ledger.verify`,
`charging.recomputing`, `funds.verify`, `caravan.reconcile`. It changes nothing in the books. Open `nightly.py` first, then
`changed.py` and `booked.py`.
"""
