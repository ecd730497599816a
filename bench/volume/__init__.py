"""Usage at volume: what the broker says of many jobs, made page by page, ingested and charged by the real app, and a month closed.

Open `making.py` for what is said, `playing.py` for what is timed. `python -m bench.volume FOLDER` plays it in a process of its own,
whose memory is then accounting's; the making of what is said is left out of all times.
"""
