"""Discounts: what a period's volume takes off, for each organization, seller, offering and component.

Owns the lines of volume discounts, which come into a period as it closes. Never decides what a total takes off (`caravan.pricing`), and
changes no line of usage. Open `service.py` first; `totals.py` has what it is computed from.
"""
