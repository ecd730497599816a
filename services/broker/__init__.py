"""The broker: where jobs run. Quotes, jobs, placement, dispatch to sites; agents and adapters. Open `jobs/service.py` first."""
