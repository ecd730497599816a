"""Runs: what was metered of each run at a site, and the lines of its job, for who holds that against the site's own books.

Owns nothing: reads what usage and charging keep. Never decides what a run costs. Open `service.py` first.
"""
