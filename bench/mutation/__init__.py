"""Mutation testing of what prices and charges: cosmic-ray's mutants of a module, each against the tests of that module.

`mutants.py` makes them, `trying.py` runs the tests on each in a process of its own, `survivors.txt` has those that no test can tell from
the code, each with its reason: nothing else may survive, and what is listed must. Open `trying.py` first.
"""
