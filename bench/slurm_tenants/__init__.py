"""Two organizations as two Unix users of one Slurm cluster: each tries to read what the other's job carries, in every way there is.

A job carries a secret word in its script, in its environment, in its name, in an argument of a program that it starts, and one that only
its output has. A leak is an answer that holds somebody else's word. Its owner asks in the same way: a way that shows nobody's word to
anybody shows nothing about leaks.

Owns the stand with both jobs (`stand.py`), the ways to look (`ways.py`), and what jobs put where their output was (`plants.py`);
`trying.py` goes through them. Never says what passes: that is `bench/cases/slurm_tenants.py`. Open `ways.py` first.
"""
