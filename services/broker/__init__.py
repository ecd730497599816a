"""The broker: where jobs run, and whether they do.

Owns quotes, jobs, placement, capacity and the dispatch to sites; beside it the agents and adapters that act at the sites. Never says what
is sold (the catalog does), and never who pays in the end (accounting does). Open `app.py` first, then `jobs/service.py`.
"""
