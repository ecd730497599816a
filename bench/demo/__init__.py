"""The story that a newcomer watches: `make demo`, or `python -m bench.demo [--split] [--keep] [--folder demo-out]`.

A centre sells, an enterprise computes, finance closes the books: on a platform started for it, by its public HTTP API alone. Open
`__main__.py` first: the chapters in their order. `centre.py`, `enterprise.py` and `finance.py` are the three audiences, `platform.py`
starts and kills the platform, `telling.py` is how it looks, `scripts.py` what the jobs run.
"""
