"""Named steps at which a harness can hold this process, to kill or stop it just there. Development only.

`CARAVAN_HOLD_STEP=release:3` holds the whole process when it reaches `release` for the third time; `CARAVAN_HOLD_PIPES=<out>,<in>`
names two FIFOs: `reached` and a line feed are written to the first, then a read of the second blocks until a byte comes or it is
closed. Unless `arm` was called, reaching a step costs one comparison.
"""

import os
import threading
from collections.abc import Mapping
from typing import Final

STEPS: Final = (
    "submit",  # broker: the job is stored, its hold not asked for yet
    "before_stage",  # agent: about to stage
    "stage",  # agent: staged at the backend, and nothing of it known here yet
    "after_stage",  # agent: about to ask whether the reference is the one
    "commit",  # broker: about to make the reference the committed one
    "after_commit",  # agent: it is the one; about to release
    "release",  # agent: released, and nobody told yet
    "meter",  # agent: usage is known, and not stated yet
    "charge",  # accounting: a usage record is stored, about to charge it
    "close",  # accounting: about to seal a period
    "correct",  # accounting: about to take the next batch of jobs of a price correction
)


class _Hold:
    def __init__(self, step: str, times: int, out: str, into: str) -> None:
        self.step, self.left, self.out, self.into = step, times, out, into
        self.lock = threading.Lock()

    def reach(self) -> None:
        with self.lock:
            self.left -= 1
            if self.left != 0:
                return
            with open(self.out, "w") as out:
                out.write("reached\n")
            with open(self.into) as into:
                into.read(1)


_hold: _Hold | None = None


def arm(*, development: bool, environment: Mapping[str, str] = os.environ) -> None:
    """Read what to hold at. Raises ValueError: in production, or for a step that doesn't exist."""
    global _hold
    wanted = environment.get("CARAVAN_HOLD_STEP")
    if not wanted:
        _hold = None
        return
    step, _, times = wanted.partition(":")
    pipes = environment.get("CARAVAN_HOLD_PIPES", "").split(",")
    if not development:
        raise ValueError("CARAVAN_HOLD_STEP is for development only")
    if step not in STEPS or not (times or "1").isdecimal() or len(pipes) != 2:
        raise ValueError(
            f"CARAVAN_HOLD_STEP is <step>:<times> with a step of {', '.join(STEPS)}; two CARAVAN_HOLD_PIPES"
        )
    _hold = _Hold(step, int(times or 1), *pipes)


def reach_now(step: str) -> None:
    """Say that `step` is reached. Blocks this thread when the process is to be held here."""
    if _hold is not None and _hold.step == step:
        _hold.reach()


async def reach(step: str) -> None:
    """The same in a coroutine: the event loop stands still too, since it is the whole process that is held."""
    reach_now(step)
