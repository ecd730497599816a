"""Silences: spans in which a site stated nothing more, though something of a job was there.

Owns when each began and ended. It bills and refuses nothing: what a site didn't state stays unbilled. Open `service.py` first.
"""
