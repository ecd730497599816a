"""Vouchers in the real accounting service, from the application to the closed period, by its API.

Open `town.py` for who acts and how. `page.py` has the worked examples, `quarter.py` what is told in any order, and `ends.py` what is done
step by step, beside `model.py`. What closed periods pay should be what `bench.independent.vouchers` says, which shares no code with the
platform.
"""
