"""The adapters: what an agent can do at one kind of backend. Open `port.py` first: it is the contract in prose.

One folder an adapter, found by the entry point group `caravan.adapters`. Imports only contracts, client and kernel, so an adapter
runs at a centre without the platform. Never decides what should run: that is the broker's.
"""
