"""Prices: price lists of offerings, as immutable revisions.

Owns which revisions there are and which one is newest. Never computes an amount: that is `caravan.pricing`. Open `lists.py` first.
"""
