"""An independent check of how jobs end on a real Slurm: what the platform's API tells of them against `sacct`.

Owns the jobs that are asked for, the reading of sacct's rows, and the comparison of both with what the API says. It shares no
code with the Slurm adapter and asks nothing but the public API and Slurm's own commands. It never decides what a centre's Slurm
should do: sacct is the truth here. Open `asked.py` first (the jobs), then `compare.py` (the fields); `playing.py` runs them.
"""
