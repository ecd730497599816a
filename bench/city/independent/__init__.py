"""A second reckoning of a played city: every claim of the platform computed anew from what it was told.

Written from docs/, openapi/ and bench/city/README.md alone; it imports the standard library and nothing of the platform. All money is
integer fen, prices are exact fractions of integers, times are seconds since 1970 in UTC.

`reading` reads the folder, `world` keeps what was told, `windows` says which price holds when, `corrections` by which list a second is
priced, `bearers` who bears it, `lines` what a job's lines are, `closing` what a period seals, `tax` its tax and fees, `books` statements,
funds and the ledger, `compare` holds all of that against the claims. Open `city.py` first: it goes through the facts in their order.
"""
