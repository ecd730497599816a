"""What a script tells the fake to play: lines of `#fake key=value ...`, comments to every real shell.

`#fake run=5 exit=3` plays for all indexes, `#fake[7] signal=9` for index 7 on top of it. Keys: `run` (seconds, 1 when not said),
`queue` (seconds before the first start), `exit`, `signal`, `memory` (MiB used), `outcome=site` (the node fails at the end of `run`),
`requeue` (how many times the backend runs it again after a node failure), `print` (a word for stdout).
"""

import re
from dataclasses import dataclass, replace

_LINE = re.compile(r"^#fake(?:\[(\d+)\])?[ \t]+(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Play:
    """How one array task goes."""

    run_seconds: float = 1.0
    queue_seconds: float = 0.0
    exit_code: int = 0
    signal: int | None = None
    memory_mib: int = 0
    site_fails: bool = False
    requeues: int = 0
    prints: str = ""


def plays(script: str, index: int) -> Play:
    """What the script plays for this index. Raises ValueError: it says something else than the table above."""
    play = Play()
    for own, words in _LINE.findall(script):
        if own and int(own) != index:
            continue
        for word in words.split():
            key, _, value = word.partition("=")
            play = _told(play, key, value)
    return play


def _told(play: Play, key: str, value: str) -> Play:
    match key:
        case "run":
            return replace(play, run_seconds=float(value))
        case "queue":
            return replace(play, queue_seconds=float(value))
        case "exit":
            return replace(play, exit_code=int(value))
        case "signal":
            return replace(play, signal=int(value))
        case "memory":
            return replace(play, memory_mib=int(value))
        case "requeue":
            return replace(play, requeues=int(value))
        case "print":
            return replace(play, prints=value)
        case "outcome" if value == "site":
            return replace(play, site_fails=True)
    raise ValueError(f"the fake doesn't know {key}={value}")
