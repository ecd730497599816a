"""Sites: clusters of providers, what they are reached through, their tenants, and the kinds of accelerators there are.

Owns settings, health and inventory as last reported, dated modes, announced adapters, tenants and accelerators. Never talks to a
backend and imports no adapter: what it knows of adapters was announced as data. Open `service.py` first, then `following.py` (what the
broker's feed changes here).

`accelerators.json` has the kinds that every installation starts with. Their memory is the nominal size, a GB taken as 1,024 MiB.
"""
