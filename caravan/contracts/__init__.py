"""What crosses a service boundary: frozen pydantic models, one file per noun family, and every domain problem.

No I/O, no database, no HTTP here. Open `spec.py` (what is asked for) and `jobs.py` (how it stands) first; `docs/architecture.md` has
the flows they travel on.
"""
