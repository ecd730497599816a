"""Reimbursements: what programmes pay back of what enterprises have paid first, by claims with evidence.

Owns what closed periods make due of vouchers whose programme reimburses, and the claims by which an enterprise asks for that: filed,
reviewed by two persons, paid. Never posts anything to the ledger, and changes no line and no statement. Open `dues.py` first: what is due.
"""
