"""Usage: what the catalog and the broker say, kept as accounting's own copy, and each hour's usage in its last revision.

Owns the followers' handlers, the copies of parties and price lists, attempts, runs and usage records. Never prices anything:
each fact is handed to `charging`. Open `facts.py` first for the broker's facts, `copies.py` for the catalog's entities.
"""
