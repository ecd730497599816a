"""Resale: agreements by which an organization sells to its members what it buys.

Owns who resells to whom, and when. Never decides what that costs: price lists are in `prices`. Open `service.py` first.
"""
