"""Periods: spans of billing that tile time, months unless finance cuts them; open, then closing, then closed for good.

Owns periods and how far each site's usage is complete. Never touches a line (charging does) and writes no statement (statements does);
it decides when both are final.
Open `service.py` first: where a second of usage lies, and where a correction goes. `closing.py` waits for the sites and seals.
"""
