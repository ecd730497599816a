"""Contests: a provider says that a run which it bears, by how it ended, is not its to bear; finance decides.

Owns what was contested and decided, and that an upheld run is the organization's (`RunRow.upheld`). Never charges: the run is marked, and
`charging` moves its lines. Open `service.py` first.
"""
