"""Runs: what was metered and billed of each run at a site, for who holds that against the site's own books.

Owns nothing: reads what usage and charging keep. Never decides what a run costs. Open `service.py` first.
"""
