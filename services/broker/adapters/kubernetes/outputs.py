"""Pods' output, copied to the agent's machine: each once, however many ask for it, and kept when its pod is gone.

The kubelet gives a log from its beginning or by whole seconds, never from a byte. So a pod's output is copied (`copies.py`) when somebody
asks for it, when the pod is to be deleted, and when it has ended. While somebody asks, what comes is followed by one request: a copy of a
pod that runs costs its log twice and of one that has ended once more, whatever is read of it. What has ended stays in the folder.
"""

import asyncio
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from caravan.kernel import clock
from caravan.kernel.logs import get_logger
from services.broker.adapters.kubernetes import copies
from services.broker.adapters.kubernetes.copies import PARTIAL, Copy, Stream
from services.broker.adapters.kubernetes.records import Pod
from services.broker.adapters.kubernetes.reference import Reference
from services.broker.adapters.port import LogBytes, Unavailable

log = get_logger(__name__)

FOLLOWED: Final = 32
"""Of more pods at once, what comes is copied when it's asked for. Each holds a connection."""
AT_ONCE: Final = 4
"""Copies of what has ended."""
SWEEP_SECONDS: Final = 3600.0


class Outputs:
    """Of one site, in a folder of its own. `lasting`: what is there will be found by whoever is the site's agent later."""

    def __init__(self, folder: Path, stream: Stream, limit_mib: int, *, lasting: bool) -> None:
        self._folder = folder
        self._stream = stream
        self._limit_mib = limit_mib
        self.lasting = lasting
        self._copies: dict[str, Copy] = {}
        self._following = 0
        self._slots = asyncio.Semaphore(AT_ONCE)

    def see(self, pod: Pod) -> None:
        """What the watch says of it. What is being deleted is copied while it can be, what has ended where it's kept."""
        copy = self._copies.get(pod.uid)
        if copy is not None:
            copy.pod = pod
            if pod.ended:
                copy.end()
            return
        due = self.lasting if pod.ended else pod.deleted is not None
        try:
            if due and pod.speaks and pod.started is not None and not self._path(pod).exists():
                self._begin(pod)
        except OSError as error:
            log.warning("kubernetes_log_not_copied", pod=pod.name, reason=str(error))

    async def read(self, pod: Pod, offset: int, limit: int) -> LogBytes:
        """Of a pod that has started. Raises FileNotFoundError, Unavailable."""
        # what is kept isn't copied again: the kubelet may have less of it by now
        if pod.uid in self._copies or not self._path(pod).exists():
            if pod.uid not in self._copies and pod.silent is not None and not pod.ended:
                # the API server would try for half a minute, while what others ask for waits its turn
                raise Unavailable(f"the node {pod.node} is silent")
            copy = await self._copied(pod)
            if not copy.ended.is_set():
                return copy.read(offset, limit)
        return await asyncio.to_thread(_read_kept, self._path(pod), offset, limit)

    async def read_kept(self, reference: Reference, index: int, offset: int, limit: int) -> LogBytes:
        """Of the last run of a task, where none of its pods is known any more. Raises FileNotFoundError."""

        def read() -> LogBytes:
            names = (name.partition(".") for name in os.listdir(self._folder / reference.uid))
            starts = [int(started) for of, _, started in names if of == str(index)]
            if not starts:
                raise FileNotFoundError(f"no output of {reference}")
            return _read_kept(self._folder / reference.uid / f"{index}.{max(starts)}", offset, limit)

        return await asyncio.to_thread(read)

    async def hold(self, pods: Iterable[Pod], seconds: float) -> None:
        """Copy what there is of pods that run and are to be deleted; for so long at most."""
        copies = [self._begin(pod) for pod in pods if pod.speaks and pod.started is not None and not pod.ended]
        waits = [asyncio.create_task(self._wait(copy, copy.there)) for copy in copies]
        for one in waits:
            one.add_done_callback(_heard)
        if waits:
            _, late = await asyncio.wait(waits, timeout=seconds)
            for one in late:
                one.cancel()

    async def keep(self, pods: Iterable[Pod]) -> bool:
        """Of pods that have ended. False: of some there is output that can't be had now."""
        return all(await asyncio.gather(*(self._keep(pod) for pod in pods if pod.speaks and pod.started is not None)))

    async def _keep(self, pod: Pod) -> bool:
        if self._path(pod).exists():
            return True
        try:
            await self._copied(pod)
        except FileNotFoundError:
            return True
        except Unavailable as error:
            log.warning("kubernetes_log_not_kept", pod=pod.name, reason=str(error))
            return False
        return self._path(pod).exists()

    async def _copied(self, pod: Pod) -> Copy:
        """So far as there is something; of what has ended, all. Raises FileNotFoundError, Unavailable."""
        copy = self._begin(pod)
        copy.ask()
        if pod.ended:
            copy.end()
        await self._wait(copy, copy.there)
        if copy.ended.is_set() and copy.task is not None:
            await asyncio.shield(copy.task)
        return copy

    async def _wait(self, copy: Copy, event: asyncio.Event) -> None:
        """Raises what ended the copy."""
        assert copy.task is not None, "it was begun"
        waiting = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait({waiting, copy.task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if copy.task.done():
            copy.task.result()

    def _begin(self, pod: Pod) -> Copy:
        """The copy that goes on, or else a new one."""
        copy = self._copies.get(pod.uid)
        if copy is None:
            copy = self._copies[pod.uid] = Copy(pod, self._folder, self._limit_mib)
            copy.task = asyncio.create_task(self._run(copy), name=f"log:{pod.name}")
            copy.task.add_done_callback(_heard)
        if pod.ended:
            copy.end()
        return copy

    async def _run(self, copy: Copy) -> None:
        """Raises FileNotFoundError: there is no output; Unavailable."""
        try:
            if not copy.ended.is_set():
                copy.open()
                await copy.take(self._stream, follow=False)
                await copy.look_back(self._stream)
                copy.there.set()
                await self._follow(copy)
            if copy.ended.is_set():
                # what waits for its turn holds no file: thousands may end together
                async with self._slots:
                    copy.open()
                    await self._finish(copy)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise copies.unwritten(error) from error
        finally:
            copy.remove()
            del self._copies[copy.pod.uid]

    async def _follow(self, copy: Copy) -> None:
        if self._following >= FOLLOWED:
            if copy.pod.deleted is not None:
                await copy.ended.wait()
            return
        self._following += 1
        try:
            while copy.wanted and not copy.ended.is_set():
                await copy.follow(self._stream)
        finally:
            self._following -= 1

    async def _finish(self, copy: Copy) -> None:
        """What came last, and then it's kept."""
        try:
            if not copy.full:
                await copy.take(self._stream, follow=False)
                if not copy.there.is_set():
                    await copy.look_back(self._stream)
        except FileNotFoundError:
            if not copy.there.is_set():
                raise
            copy.lose()
        await asyncio.to_thread(copy.keep, self._path(copy.pod))

    def _path(self, pod: Pod) -> Path:
        return self._folder / pod.job.uid / f"{pod.index}.{pod.started}"

    async def sweep(self, seconds: float) -> float:
        """Remove what has been kept for so long. Returns the seconds to wait before the next time."""
        try:
            await asyncio.to_thread(_remove_before, self._folder, clock.now().timestamp() - seconds)
        except OSError as error:
            log.error("kubernetes_output_not_removed", reason=str(error))
        return SWEEP_SECONDS

    async def close(self) -> None:
        tasks = [copy.task for copy in self._copies.values() if copy.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _heard(task: asyncio.Task[None]) -> None:
    """Nobody may have waited for what it raises."""
    if not task.cancelled():
        task.exception()


def _read_kept(path: Path, offset: int, limit: int) -> LogBytes:
    """Blocking. Raises FileNotFoundError."""
    with path.open("rb") as file:
        return copies.read(file.fileno(), offset, limit, ended=True)


def _remove_before(folder: Path, second: float) -> None:
    """Also what a killed process has left half copied. Blocking."""
    for path in [*folder.glob("*/*"), *folder.glob(f"{PARTIAL}*")]:
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < second:
                path.unlink()
    for path in folder.iterdir():
        if path.is_dir():
            with suppress(OSError):
                path.rmdir()
