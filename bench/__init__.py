"""Benchmarks and proofs: each is a command, `python -m bench.<name>`."""
