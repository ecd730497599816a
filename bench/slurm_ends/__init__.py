"""An independent check of how jobs end on a real Slurm: what the platform's API tells of them against `sacct`.

Owns the jobs that are asked for, and the comparison of them and of sacct's rows (`bench.independent.slurm_runs`) with what the API
says and bills. It shares no code with the Slurm adapter nor with pricing, and asks nothing but the public API and Slurm's own
commands. It never decides what a centre's Slurm should do: sacct is the truth here. Open `asked.py` first (the jobs), then
`compare.py` (the fields); `playing.py` runs them.
"""
