"""Tax: dated rules of what is taxed and how, and the tax that stands on a period's lines once it closes.

Owns the rules, how each supply was taxed, and the columns of tax on lines. Never knows a rate: rates are data, posted by finance, or
the catalog's where a seller has no rule. Open `spreading.py` first: how much tax is in prices, and on which line it stands.
"""
