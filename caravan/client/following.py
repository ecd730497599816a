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
    next, each from its first byte. `ended`: whether nothing more will be written; None: what is there now is enough. `pause` stands
    between looks that had nothing more.
    Raises what `read` raises: NoLogYet only where nothing will come any more; LogUnavailable only of a task that had ended before
    anything was read, since what was begun goes on once its site is back. Without `ended` both at once.
    """
    at, attempt = None, ""
    over = ended is None or await ended()
    while True:
        piece = None
        try:
            piece = await read(at)
        except NoLogYet:
            if over:
                raise
        except LogUnavailable:
            if over and (ended is None or not attempt):
                raise
        if piece is not None:
            if attempt not in ("", piece.attempt):
                at, attempt = 0, piece.attempt
                continue
            at, attempt = piece.next_offset, piece.attempt
        yield piece
        if piece is not None:
            more = piece.next_offset < piece.size
            if piece.complete or (ended is None and not more):
                return
            if more:
                continue
        await pause()
        over = over or (ended is not None and piece is None and await ended())
