"""What crosses a service boundary: frozen pydantic models, one file per noun family, and every domain problem.

No I/O, no database, no HTTP here. Open `jobs.py` first; `docs/architecture.md` has the flows they travel on.
"""
