"""Placement: where a job could run, why elsewhere not, and what it may cost at most.

Owns the broker's copies of the catalog, the pure decision, capacity, and quotes. Never talks to a site and never asks for money.
Open `question.py` first (what the decision is given), then `decide.py`, `refusals.py` for why not, and `why.py` for why.
"""
