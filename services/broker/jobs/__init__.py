"""Jobs: what enterprises asked for and how it stands, from acceptance to settlement.

Owns jobs, array tasks and their events, and `advance`, the one function that moves a job on. Never talks to a site (that is
dispatch) and never decides where (that is placement). Open `service.py` first.
"""
