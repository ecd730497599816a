"""How a task's output is read piece by piece, to where it ends now or until its task has ended: the same for whoever reads."""

from collections.abc import AsyncIterator, Awaitable, Callable

from caravan.contracts.jobs import LogChunk
from caravan.contracts.problems import LogUnavailable, NoLogYet


async def pieces(
    read: Callable[[int | None], Awaitable[LogChunk]],
    ended: Callable[[], Awaitable[bool]] | None,
    pause: Callable[[], Awaitable[None]],
) -> AsyncIterator[LogChunk | None]:
    """Each piece that there is; None where nothing can be read yet, or now.

    `read` gives the piece at a byte; None: where the first one is to begin. A task that is tried again is followed from one try to the
    next, each from its first byte, and so is one that its site has run again within a try, which shows by less having been written: of
    a run that has written more by the next look the beginning is missed. `ended`: whether the task has; None: what is there now is
    enough. `pause` stands between looks that had nothing more.
    Raises what `read` raises. NoLogYet and LogUnavailable only without `ended`, or from a look at a task that had ended before it: until
    then they are waited out, since output begins, or its site is back.
    """
    at, attempt = None, ""
    over = ended is not None and await ended()
    while True:
        try:
            piece = await read(at)
        except (NoLogYet, LogUnavailable):
            if ended is None or over:
                raise
            yield None
            await pause()
            over = await ended()
            continue
        if attempt and (attempt != piece.attempt or piece.offset < (at or 0)):
            at, attempt = 0, piece.attempt
            continue
        at, attempt = piece.next_offset, piece.attempt
        yield piece
        if piece.complete:
            return
        if piece.next_offset < piece.size:
            continue
        if ended is None:
            return
        await pause()
