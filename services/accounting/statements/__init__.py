"""Statements: numbered documents of a closed period, one for each organization and each provider that has lines in it.

Owns their totals, numbers and papers. Never changes a line or rounds one again: a statement is the sum of its lines.
Open `totals.py` first: what a statement says of its lines.
"""
