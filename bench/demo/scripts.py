"""What the jobs of the story run: the shell and awk alone, which are wherever a job is."""

from typing import Final

MONTE_CARLO: Final = """#!/bin/sh
# Estimates pi for 15 s in two processes, by throwing darts at a square.
throw() {
    awk -v seed="$1" -v seconds=15 'BEGIN {
        srand(seed)
        date = "date +%s"
        date | getline began
        do {
            for (i = 0; i < 200000; i++) {
                x = rand()
                y = rand()
                inside += x * x + y * y < 1
            }
            thrown += i
            close(date)
            date | getline now
        } while (now < began + seconds)
        print inside, thrown
    }'
}
exec 3>&1
echo "process $$: throwing darts in 2 processes for 15 s"
{
    throw 1 &
    throw 2 &
    for second in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
        sleep 1
        echo "second $second" >&3
    done
    wait
} | awk '{ inside += $1; thrown += $2 } END { printf "pi is about %.5f (%d darts)\\n", 4 * inside / thrown, thrown }'
"""
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


def short(number: int) -> str:
    """Two seconds or a few more, by the number; it says when it began and when it ended."""
    return f"#!/bin/sh\ndate +%s\nsleep {2 + number % 3}\ndate +%s\n"
