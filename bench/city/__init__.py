"""A made city: a year of compute, told to accounting as the catalog, the broker, centres and finance tell it, and what is claimed of it.

Owns the drawing of the city (`town.py`, `prices.py`, `jobs.py`), its telling (`playing.py`, `finance.py`), and the faults that can be
planted into accounting before (`faults.py`). Never says what is right: an independent script does, from what `README.md` describes.
Open that first. `quarter/` plays a part of it with vouchers.
"""
