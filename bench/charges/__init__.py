"""A rich history of usage, played into the real accounting, exported by its public API: what the independent checker charges again.

Owns the drawn history (`history.py`), the run through the service (`playing.py`), and the faults that can be planted into it before
(`faults.py`). Never says what is right: that is `bench/independent`. Open `history.py` first. `python -m bench.charges FOLDER` runs it.
"""
