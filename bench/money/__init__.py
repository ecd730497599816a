"""A life of accounting that may end at any moment: months of usage ingested, charged, closed and corrected, each life going on where the
database stands.

Open `rounds.py` for what happens in a month, `living.py` for how it is played. `python -m bench.money FOLDER` is one life. It says on
stdout which phase begins and ends, and has written FOLDER/books.json when all is done.
"""
