"""Dispatch: the broker's side of the protocol with site agents: lease, work, commit, report; log reads; what is lost.

Owns what is wanted of each site and what its agent last said. Never calls a backend, and never decides where a job goes.
Open `service.py` first, then `reports.py` (what a report changes), `stating.py` (usage), `lost.py`, `logs.py`;
`caravan/contracts/dispatch.py` is the protocol.
"""
