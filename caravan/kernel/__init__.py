"""What every service stands on: database, problems, tokens, pages, feed, leases, loops, clock, ids, money.

Knows nothing of compute or customers. Open `database.py` first: a unit of work is a plain function of a session.
"""
