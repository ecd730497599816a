"""Programmes: what issuers pay of what enterprises use, by vouchers.

Owns programmes, their pools and what is paid by them. Never changes what a line costs, nor what its seller is owed: a programme pays a part
of what the organization owes. Open `claims.py` first: how much that is.
"""
