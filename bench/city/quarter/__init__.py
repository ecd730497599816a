"""A quarter of the made city: what programmes would have paid of it, as previews say, and what they pay where vouchers were there before.

Owns the drafts (`drafts.py`), who drafts, publishes and issues (`office.py`), what is read of a played quarter (`paid.py`) and how the two
are compared (`compare.py`). Open `__main__.py` first.
"""
