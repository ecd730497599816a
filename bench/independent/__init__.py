"""An independent second opinion on the bill.

Owns `check.py`, which charges exported usage again by the written rules and compares to the fen, and `dump_sums.py`, which
sums a dump of sacct again. It never imports
caravan or services: what it shares with the platform is the API's JSON and nothing else. Open `check.py` first.
"""
