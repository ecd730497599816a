"""Vouchers: what enterprises apply for with evidence, the office reviews, issues and revokes.

Owns applications and vouchers, and commits programmes' pools by them. Never says what a voucher pays: that is in `programmes`. Open
`applying.py` first, and `limits.py` for how much may be applied for.
"""
