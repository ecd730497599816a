"""Offerings: what is sold on a site, from the draft to the archive, and the search for it.

Owns tiers, limits, backend targets and contributed capacity. Never knows what is free: capacity is reserved by the broker.
Open `service.py` first, then `search.py`; `drafts.py` makes offerings of an inventory.
"""
