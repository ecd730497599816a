"""Charging: the lines of a job, and what of its hold they capture.

Owns lines: which there are and who bears them is a function of the job's facts (`lines.py`, pure), so that facts in any order, split,
doubled or revised give equal lines. Never decides what a second costs (`caravan.pricing`) or whether money may be held (`funds`).
Open `lines.py` first; `service.py` brings the stored lines up to it and posts the differences, `explaining.py` tells why they are so.
"""
