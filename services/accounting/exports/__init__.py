"""Exports: what finance takes away, so that an independent script can compute every line again.

Owns the usage export. Never decides anything. Open `endpoints.py`.
"""
