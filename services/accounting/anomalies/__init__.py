"""Anomalies: usage that can't be trusted, set aside with a reason until a person accepts or discards it.

Owns what was set aside and what was decided of it. Never changes a fact: what is accepted is billed as it was stated. Open `odd.py` first.
"""
