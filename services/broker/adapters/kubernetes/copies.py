"""The copy of one pod's output in a file: begun, followed, gone on with, and cut where it grows too long.

The kubelet begins a log anew when it has grown too long (containerLogMaxSize), and gives only the newest part of it from then on: who
follows goes on into that, who asks again begins there. What comes is compared with what is there, so that another part isn't taken for
the same, and the copy says where it may lack something. What was lost before anybody asked can't be seen: it is guessed, of long logs
alone, by when the first line that is left was written.
"""

import asyncio
import mmap
import os
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

import httpx

from caravan.kernel import clock
from caravan.kernel.logs import get_logger
from services.broker.adapters.kubernetes.failures import GONE
from services.broker.adapters.kubernetes.records import Pod
from services.broker.adapters.kubernetes.rest import Refusal
from services.broker.adapters.port import LogBytes, Unavailable

log = get_logger(__name__)

IDLE_SECONDS: Final = 30.0
"""A copy that nobody has asked for so long is not gone on with."""
DRAIN_SECONDS: Final = 5.0
"""How long a stream may go on when its container has ended."""
AGAIN_SECONDS: Final = 1.0
"""Before a stream that broke off is begun again."""
PARTIAL: Final = ".partial-"
LOST: Final = re.compile(
    rb"unable to retrieve container logs for \w+://[0-9a-f]{64}"
    rb'|failed to try resolving symlinks in path "[^"\n]*": lstat [^\n]*: no such file or directory'
)
"""What the kubelet (1.34) gives with status 200 instead of a log that is gone: by its first look and by its second."""
LOST_BEGIN: Final = (b"unable to retrieve container logs for ", b"failed to try resolving symlinks in path ")
LOST_BYTES: Final = 1024
NO_LOG: Final = frozenset({400, GONE})
"""400: its container is still being made, or isn't there any more; 404: its pod isn't."""

FOLLOW: Final = {"follow": "true"}
FIRST_LINE: Final = {"timestamps": "true", "limitBytes": "256"}
LONG_BYTES: Final = 2**16
"""Of a log that is shorter nobody asks when its first line was written."""
ANEW_BYTES: Final = 10 * 2**20
"""The kubelet's own containerLogMaxSize, which a centre may have set otherwise."""

Stream = Callable[[Pod, Mapping[str, str]], AbstractAsyncContextManager[httpx.Response]]
"""A pod's log, by parameters of Kubernetes': FOLLOW goes on until its container ends. Raises Unavailable; Refusal before it begins."""


class Copy:
    """Of one pod's output. `there`: so much of it as there was when the copy began. `ended`: its container is known to have."""

    def __init__(self, pod: Pod, folder: Path, limit_mib: int) -> None:
        self.pod = pod
        self.size = 0
        self.full = False
        self.whole = False
        """A stream of it ended with its container."""
        self.there, self.ended = asyncio.Event(), asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self._limit_mib = limit_mib
        self._until = clock.monotonic() + IDLE_SECONDS
        self._patience: asyncio.Timeout | None = None
        self._folder = folder
        self._file: int | None = None
        self._path = ""
        """Of what was opened; empty before."""
        self._begin = 0
        """Where in the copy the part of the log begins that the kubelet gave last."""

    def open(self) -> None:
        """Unless it is. Raises Unavailable."""
        if self._file is not None:
            return
        try:
            self._file, self._path = tempfile.mkstemp(prefix=PARTIAL, dir=self._folder)
        except OSError as error:
            raise unwritten(error) from error

    def __del__(self) -> None:
        """Who still reads it has it open."""
        if self._file is not None:
            os.close(self._file)

    @property
    def wanted(self) -> bool:
        """Whether somebody still asks for it, or will in vain."""
        return clock.monotonic() < self._until or self.pod.deleted is not None

    def ask(self) -> None:
        self._wait_until(clock.monotonic() + IDLE_SECONDS)

    def end(self) -> None:
        """Its container has ended: what still comes of it comes soon."""
        if not self.ended.is_set():
            self.ended.set()
            self._wait_until(clock.monotonic() + DRAIN_SECONDS)

    def _wait_until(self, at: float) -> None:
        self._until = at
        if self._patience is not None and not self._patience.expired():
            left = at - clock.monotonic()
            endless = self.pod.deleted is not None and not self.ended.is_set()
            self._patience.reschedule(None if endless else asyncio.get_running_loop().time() + left)

    async def follow(self, stream: Stream) -> None:
        """Until its container has ended, or nobody asks for it any more."""
        try:
            async with asyncio.timeout(None) as self._patience:
                try:
                    self._wait_until(self._until)
                    await self.take(stream, follow=True)
                    await self.ended.wait()
                finally:
                    self._patience = None
        except TimeoutError:
            return
        except (Unavailable, FileNotFoundError) as error:
            log.info("kubernetes_log_cut", pod=self.pod.name, reason=str(error))
            with suppress(TimeoutError):
                await asyncio.wait_for(self.ended.wait(), AGAIN_SECONDS)

    async def take(self, stream: Stream, *, follow: bool) -> None:
        """Go on with it: of what comes, which always begins at the start of the kubelet's newest part, only what isn't there yet.

        Raises Unavailable, FileNotFoundError, OSError.
        """
        at = 0
        self.whole = self.whole and not follow
        try:
            async with stream(self.pod, FOLLOW if follow else {}) as response:
                async for chunk in written(response):
                    if not self._is_there(at, chunk):
                        self._begin_anew(at, chunk)
                    self._add(chunk[max(0, self.size - self._begin - at) :])
                    at += len(chunk)
                    if self.full:
                        break
        except Refusal as refusal:
            if refusal.failed.status in NO_LOG:
                raise FileNotFoundError(f"no output of {self.pod.name}") from refusal
            raise
        if not (follow or self.full or self.whole) and at < self.size - self._begin:
            self._begin_anew(at)
        self.whole = self.whole or follow

    async def look_back(self, stream: Stream) -> None:
        """Of a copy that was just begun: say so if it seems to lack the beginning. Where that can't be asked nothing is said."""
        if self.size < LONG_BYTES or self.pod.started is None:
            return
        try:
            async with stream(self.pod, FIRST_LINE) as response:
                written, _, line = (await response.aread()).partition(b"\n")[0].partition(b" ")
            begins = datetime.fromisoformat(written.decode()).timestamp()
        except (Unavailable, ValueError):
            return
        assert self._file is not None, "it was opened"
        seconds, ended = int(begins - self.pod.started), self.pod.finished or clock.now().timestamp()
        same = os.pread(self._file, len(line), 0) == line
        if same and lacks_its_beginning(self.size, seconds, ended - begins):
            self._say_first(
                f"节点的日志从启动 {seconds} 秒后开始，此前的输出可能缺失 "
                f"the node's log begins {seconds} s after the start: output before may be missing"
            )

    def _is_there(self, at: int, chunk: bytes) -> bool:
        """Whether what comes `at` so many bytes from the start is what the copy has there, as far as it has something."""
        assert self._file is not None, "it was opened"
        there = os.pread(self._file, min(len(chunk), max(0, self.size - self._begin - at)), self._begin + at)
        return chunk.startswith(there)

    def _begin_anew(self, at: int, chunk: bytes = b"") -> None:
        """It is another part of the log, of which `at` bytes were like those of the one before, and then this came. What was followed to
        its end may have it already."""
        assert self._file is not None, "it was opened"
        like = os.pread(self._file, at, self._begin)
        if self.whole:
            with mmap.mmap(self._file, self.size, prot=mmap.PROT_READ) as there:
                found = there.find(like + chunk, self._begin)
            if found >= 0:
                self._begin = found
                return
        self._say(
            "节点另起了日志文件，此处的输出可能有缺失或重复 the node began the log anew: here output may be missing or twice"
        )
        self._begin = self.size
        self._add(like)

    def _add(self, data: bytes) -> None:
        left = self._limit_mib * 2**20 - self.size
        if len(data) > left:
            self.full = True
            data = data[:left]
        self._write(data)
        if self.full:
            self._say(
                f"输出超过 {self._limit_mib} MiB，其余未保留 more than {self._limit_mib} MiB were written, the rest is not kept"
            )

    def lose(self) -> None:
        """Its pod is gone, and what it had not given yet with it."""
        if not (self.full or self.whole):
            self._say("输出的末尾未能读到 the end of the output could not be read")

    def _say(self, words: str) -> None:
        self._write(f"\n[caravan: {words}]\n".encode())

    def _say_first(self, words: str) -> None:
        """Before all else."""
        assert self._file is not None, "it was opened"
        there, self.size = os.pread(self._file, self.size, 0), 0
        os.lseek(self._file, 0, os.SEEK_SET)
        self._write(f"[caravan: {words}]\n".encode())
        self._begin = self.size
        self._write(there)

    def _write(self, data: bytes) -> None:
        assert self._file is not None, "it was opened"
        while data:
            written = os.write(self._file, data)
            self.size, data = self.size + written, data[written:]

    def read(self, offset: int, limit: int) -> LogBytes:
        assert self._file is not None, "it was opened"
        return read(self._file, offset, limit, ended=False)

    def keep(self, path: Path) -> None:
        """Blocking. Raises OSError."""
        assert self._file is not None, "it was opened"
        os.fsync(self._file)
        while True:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            try:
                os.rename(self._path, path)
            except FileNotFoundError:
                # a sweep removes folders that are empty, as this one was
                if path.parent.exists():
                    raise
            else:
                return

    def remove(self) -> None:
        """What wasn't kept."""
        with suppress(FileNotFoundError):
            os.unlink(self._path)


def lacks_its_beginning(size: int, before_seconds: float, seconds: float) -> bool:
    """Of a log that begins so long after its container's start, and was written in so many seconds: had it been written like that from the
    start, that would have been more than the kubelet lets it become."""
    return size * before_seconds > ANEW_BYTES * max(seconds, 1)


async def written(response: httpx.Response) -> AsyncIterator[bytes]:
    """What a pod's container has written. Raises FileNotFoundError: the kubelet has nothing of it any more."""
    head: bytes | None = b""
    async for chunk in response.aiter_bytes():
        if head is None:
            yield chunk
            continue
        head += chunk
        begins = any(head.startswith(begin) or begin.startswith(head) for begin in LOST_BEGIN)
        if not begins or len(head) > LOST_BYTES:
            yield head
            head = None
    if head and LOST.fullmatch(head):
        raise FileNotFoundError("the kubelet has no log of it any more")
    if head:
        yield head


def unwritten(error: OSError) -> Unavailable:
    return Unavailable(f"the output can't be copied: {error.strerror or error}")


def read(file: int, offset: int, limit: int, *, ended: bool) -> LogBytes:
    """`offset` bytes from the start, or from the end where it is negative."""
    size = os.fstat(file).st_size
    at = max(0, size + offset) if offset < 0 else min(offset, size)
    data = os.pread(file, min(limit, size - at), at)
    return LogBytes(data, at, size, ended and at + len(data) == size)
