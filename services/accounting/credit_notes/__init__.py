"""Credit notes: what finance gives back of a line on a sealed statement.

Owns the notes and their numbers. Changes no line and no statement: both stay as they were sealed. Open `left.py` first: how much may be
given back.
"""
