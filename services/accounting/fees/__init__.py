"""Fees: agreements with providers, and the fee that each period's close takes by them.

Owns agreements and the arithmetic of the fee. Never changes a line: a fee is between the platform and the provider, and stands on the
provider's statement alone. Open `arithmetic.py` first: how much it is.
"""
