"""The story that a newcomer watches: `make demo`, or `python -m bench.demo [--slurm 24.11 | --kubernetes | --everywhere] [--split]`.

A centre sells, an enterprise computes, finance closes the books: on a platform started for it, by its public HTTP API alone. Open
`__main__.py` first: the chapters in their order. `centre.py`, `enterprise.py` and `finance.py` are the three audiences, `everywhere.py`
a job on each backend at once, `world.py` who they are and what they have made, `stages.py` where its jobs run, `telling.py` how it
looks, `scripts.py` what the jobs run.
"""
