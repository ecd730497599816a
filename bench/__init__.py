"""Benchmarks, the demo and proofs, each a command: `make bench`, `make demo`, `make prove`."""
