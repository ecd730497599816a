"""Fees: agreements with providers, and the fee that each period's close takes by them.

Owns agreements, the arithmetic of the fee and how much of it is due. Never changes a line: a fee is between the platform and the provider,
and stands on the provider's statement alone. Open `arithmetic.py` first: how much it is; then `paying.py`: when it is due.
"""
