"""Mutations that no test can tell from the code. Reads `survivors.txt`: blocks of four lines, apart by an empty one.

path/of/the/module.py
- the lines as they are
+ the lines of the mutant
why no test can tell it
"""

from pathlib import Path
from typing import Final, NamedTuple

LIST: Final = Path(__file__).with_name("survivors.txt")


class Mutation(NamedTuple):
    """What is changed where: lines before and after, stripped. Not the place, which moves with each edit above it."""

    module: str
    before: str
    after: str


def listed() -> dict[Mutation, str]:
    """The reason of each. Raises ValueError where a block isn't whole."""
    found = {}
    for block in LIST.read_text().strip().split("\n\n"):
        lines = block.splitlines()
        if len(lines) != 4 or not lines[1].startswith("- ") or not lines[2].startswith("+ "):
            raise ValueError(f"no module, line, mutant and reason in {block!r}")
        found[Mutation(lines[0], lines[1][2:], lines[2][2:])] = lines[3]
    return found
