"""Funds: deposits, credit limits, budgets, and the holds that set money aside for jobs.

Owns who may still spend how much: totals for each organization and each budget, kept in the transactions that change them, so that
`available` is computed from one row. Never prices anything and never decides who bears a charge: `charging` says what was captured.
Open `decision.py` first: whether a hold is granted, and what would fit.
"""
