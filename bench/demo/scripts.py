"""What the jobs of the story run."""

import shutil
import sys
from typing import Final

MONTE_CARLO_SECONDS: Final = 15

_MONTE_CARLO: Final = '''#!{python}
"""Estimate pi by throwing darts at a square, in two processes."""
import os
import random
import time

SECONDS = {seconds}


def throw(seed, until, answer):
    darts = random.Random(seed)
    thrown = inside = 0
    while time.monotonic() < until:
        for _ in range(10000):
            x, y = darts.random(), darts.random()
            inside += x * x + y * y < 1.0
        thrown += 10000
    os.write(answer, f"{{inside}} {{thrown}}\\n".encode())
    os._exit(0)


print(f"pid {{os.getpid()}}: throwing darts in 2 processes for {{SECONDS}} s", flush=True)
until = time.monotonic() + SECONDS
reading, writing = os.pipe()
for seed in (1, 2):
    if os.fork() == 0:
        throw(seed, until, writing)
os.close(writing)
for second in range(1, SECONDS + 1):
    time.sleep(1)
    print(f"second {{second}}", flush=True)
counts = [line.split() for line in os.fdopen(reading).read().splitlines()]
for _ in counts:
    os.wait()
inside, thrown = (sum(int(count[i]) for count in counts) for i in (0, 1))
print(f"pi is about {{4 * inside / thrown:.5f}} ({{thrown:,}} darts)", flush=True)
'''


def monte_carlo(seconds: int = MONTE_CARLO_SECONDS) -> str:
    """Real computation of a known length, whatever the machine's speed."""
    return _MONTE_CARLO.format(python=python(), seconds=seconds)


def python() -> str:
    """An interpreter that a job can reach: the system's, else the one that this environment was made from."""
    return shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin") or str(getattr(sys, "_base_executable"))  # noqa: B009


ARRAY: Final = """#!/bin/sh
echo "sample $CARAVAN_ARRAY_INDEX on $(nproc) cores"
sleep 2
"""
FAILING: Final = """#!/bin/sh
echo "reading the mesh" >&2
sleep 3
echo "mesh.dat: cell 4711 has no volume" >&2
exit 3
"""
ENDLESS: Final = """#!/bin/sh
echo "this will take a while"
sleep 600
"""
