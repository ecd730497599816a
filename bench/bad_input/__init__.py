"""Bad requests and bad tokens, each beside its good twin: the same without what is wrong with it, which must be accepted.

Owns what is sent and what must be said of it. Sends nothing: that is `bench/cases/input.py`. Open `requests.py` first.
"""
