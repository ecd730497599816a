"""Parties: organizations with their projects, and providers with their approval.

Owns who takes part. Never decides what a caller's token may do: permissions come with the token. Open `service.py` first.
"""
