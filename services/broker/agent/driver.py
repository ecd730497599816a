"""Brings each attempt to where the broker wants it: stage, commit, release; cancel; forget. One task per attempt at a time."""

import asyncio
from collections.abc import Callable

from caravan.contracts.dispatch import Commit, Desired, Verdict
from caravan.contracts.problems import LeaseLost
from caravan.kernel import steps
from caravan.kernel.logs import get_logger
from services.broker.adapters.port import Backend, NotSeen, Rejected, Seen
from services.broker.agent.committer import Committer
from services.broker.agent.tenure import AgentApi, AgentMetrics, LeaseGone, Tenure, Tries
from services.broker.agent.watched import Stand, Watched

log = get_logger(__name__)


class StillThere(Exception):
    """What was asked to end has not ended yet: look again after a pause."""


class Driver:
    """Level-triggered: `kick` an attempt whenever something of it changed. A failed step is taken again after a pause.

    `look` is called with a reference whose state is worth looking at now.
    """

    def __init__(
        self, tenure: Tenure, backend: Backend, broker: AgentApi, metrics: AgentMetrics, look: Callable[[str], None]
    ) -> None:
        self._tenure = tenure
        self._backend = backend
        self._committer = Committer(tenure, broker)
        self._metrics = metrics
        self._look = look
        self._slots = asyncio.Semaphore(tenure.settings.concurrency)
        self._tasks: set[asyncio.Task[None]] = set()
        self._again: set[Watched] = set()
        """Those that were kicked during their step."""

    def kick(self, watched: Watched) -> None:
        """See to the attempt now, or once more when its present step is done."""
        if watched.task is not None and not watched.task.done():
            self._again.add(watched)
            return
        watched.task = asyncio.create_task(self._run(watched), name=f"attempt:{watched.attempt}")
        self._tasks.add(watched.task)
        watched.task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop acting. What a backend was asked already may still happen; it was asked under the lease."""
        self._committer.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _run(self, watched: Watched) -> None:
        tries = Tries(self._tenure.settings, self._metrics, "drive", attempt=watched.attempt)
        while True:
            self._again.discard(watched)
            try:
                async with self._slots:
                    await self._step(watched)
            except LeaseGone:
                return
            except LeaseLost as error:
                self._tenure.lose(repr(error))
                return
            except StillThere:
                await asyncio.sleep(tries.pause())
            except Exception as error:  # Whatever one attempt meets, it is logged, counted and tried again.
                await asyncio.sleep(tries.failed(error))
            else:
                tries.well()
                if watched not in self._again:
                    return

    async def _step(self, watched: Watched) -> None:
        match watched.desired:
            case Desired.RUN:
                if watched.reference is None and watched.stand is not Stand.OVER:
                    await self._stage(watched)
                if watched.reference is not None and watched.stand is not Stand.OVER:
                    await self._release(watched, watched.reference)
            case Desired.CANCEL:
                await self._cancel(watched)
            case Desired.NOTHING:
                await self._forget(watched)

    async def _stage(self, watched: Watched) -> None:
        """Have a submission of it at the backend, and the broker's word on whether it is the one."""
        if watched.staged is None:
            if watched.submission is None:
                return
            await steps.reach("before_stage")
            self._tenure.guard()
            try:
                watched.staged = await self._backend.stage(watched.submission)
            except Rejected as error:
                watched.stand = Stand.OVER
                self._tenure.outbox.add(watched.observed("rejected", str(error)))
                return
            await steps.reach("stage")
        await steps.reach("after_stage")
        self._tenure.guard()
        asked = Commit(attempt=watched.attempt, reference=watched.staged)
        answer = await self._committer.ask(asked)
        if answer.verdict is Verdict.RELEASE:
            watched.reference, watched.staged, watched.stand = asked.reference, None, Stand.COMMITTED
            return
        self._tenure.guard()
        await self._backend.discard(asked.reference)
        watched.staged = None
        if answer.reference is not None:
            watched.reference = answer.reference
        else:
            watched.stand = Stand.OVER

    async def _release(self, watched: Watched, reference: str) -> None:
        """Start what is committed. Once more after a restart or a lost answer: it changes nothing."""
        if watched.stand is Stand.RELEASED or watched.desired is not Desired.RUN:
            return
        await steps.reach("after_commit")
        self._tenure.guard()
        try:
            await self._backend.release(reference)
        except Rejected as error:
            await self._not_released(watched, reference, str(error))
            return
        await steps.reach("release")
        first, watched.stand = watched.stand is Stand.COMMITTED, Stand.RELEASED
        if first and watched.told is None:
            self._tenure.outbox.add(watched.observed("released"))
        self._look(reference)

    async def _not_released(self, watched: Watched, reference: str, words: str) -> None:
        """The backend won't start it. When it never was started, see to it that it never is, and say so."""
        seen = (await self._backend.observe([reference]))[reference]
        if isinstance(seen, NotSeen) or seen.released or seen.ended:
            released = isinstance(seen, Seen) and seen.released
            watched.stand = Stand.RELEASED if released else Stand.OVER
            self._look(reference)
            return
        self._tenure.guard()
        await self._backend.cancel(reference)
        watched.stand = Stand.OVER
        self._tenure.outbox.add(watched.observed("ended", words))

    async def _cancel(self, watched: Watched) -> None:
        """Nothing of it may run: cancel what is committed; with nothing committed, remove what was staged, and say so."""
        if watched.reference is not None:
            if not watched.cancelled:
                self._tenure.guard()
                await self._backend.cancel(watched.reference)
                watched.cancelled = True
            self._look(watched.reference)
            return
        # The broker commits nothing of a cancelled attempt, so what is staged can only be litter.
        for staged in await self._backend.staged():
            if staged.tag == watched.tag:
                self._tenure.guard()
                await self._backend.discard(staged.reference)
        watched.staged, watched.stand = None, Stand.OVER
        self._tenure.outbox.add(watched.observed("discarded"))

    async def _forget(self, watched: Watched) -> None:
        """Its books are closed. What was given up as lost may still run: then end it, and let go of it once it has ended."""
        if watched.staged is not None:
            self._tenure.guard()
            await self._backend.discard(watched.staged)
            watched.staged = None
        if watched.reference is not None:
            self._tenure.guard()
            if not watched.settled:
                await self._backend.cancel(watched.reference)
                seen = (await self._backend.observe([watched.reference]))[watched.reference]
                if isinstance(seen, Seen) and not seen.ended:
                    raise StillThere
            await self._backend.forget(watched.reference)
        self._tenure.outbox.add(watched.observed("forgotten"))
        self._tenure.items.pop(watched.attempt, None)
