"""A window of a pod's output, cut from a stream that always begins at its start. Pure."""

from collections import deque

from services.broker.adapters.port import LogBytes


class Window:
    """`offset` bytes from the start, or from the end where it is negative; `limit` bytes at most. Only these are held."""

    def __init__(self, offset: int, limit: int) -> None:
        self._offset = offset
        self._limit = limit
        self._size = 0
        self._held: deque[bytes] = deque()
        self._bytes = 0

    def feed(self, chunk: bytes) -> None:
        at, self._size = self._size, self._size + len(chunk)
        if self._offset >= 0:
            chunk = chunk[max(0, self._offset - at) :][: self._limit - self._bytes]
        if chunk:
            self._held.append(chunk)
            self._bytes += len(chunk)
        while self._offset < 0 and self._held and self._bytes - len(self._held[0]) >= -self._offset:
            self._bytes -= len(self._held.popleft())

    def read(self, *, ended: bool) -> LogBytes:
        """`ended`: whoever writes had ended before the stream began."""
        if self._offset >= 0:
            at, data = min(self._offset, self._size), b"".join(self._held)
        else:
            at, data = max(0, self._size + self._offset), b"".join(self._held)[self._offset :][: self._limit]
        return LogBytes(data, at, self._size, ended and at + len(data) == self._size)
