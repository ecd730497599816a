"""Accounting: what was used, what it costs, who bears it, and what of the money is still free.

Follows the catalog (parties and prices) and the broker (attempts, usage, ends). Never starts, stops or places anything. Open
`usage/__init__.py` first for how facts come in, `charging/lines.py` for what is made of them, `funds/decision.py` for what may be held.
"""
