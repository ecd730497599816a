"""Vouchers in the real accounting service, from the application to the closed period, by its API.

Open `town.py` for who acts and how, `jobs.py` for what is used. What should come out is `bench.independent.vouchers`, which shares no code
with the platform.
"""
