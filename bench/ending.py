"""What is started here ends with it, also when it is told to end from outside."""

import signal
from types import FrameType


def like_ctrl_c() -> None:
    """From now on SIGTERM and SIGHUP do what Ctrl-C does: what was entered is left, and ends what it has started.

    Only the first one: `make` passes SIGTERM on, so it comes twice where a whole group gets it, and the second would cut the ending
    short. A script's `&` has SIGINT ignored, and it isn't any more. SIGHUP stays ignored under nohup.
    """
    told = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal told
        if not told:
            told = True
            signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, end)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, end)
