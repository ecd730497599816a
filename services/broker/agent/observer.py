"""Looks at what was committed, and finds what is news: states, runs, usage, and how far usage is complete."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from caravan.contracts.dispatch import Desired, UsageStated
from caravan.kernel import clock, steps
from services.broker.adapters.port import Backend, BackendError, NotSeen, Seen
from services.broker.agent.rota import Rota
from services.broker.agent.tenure import AGAIN_SECONDS, AgentMetrics, Tenure, Tries
from services.broker.agent.watched import Watched


class Observer:
    """A loop's iteration. Cost grows with what changed; whatever may have, everything is looked at once in `full_pass_seconds`."""

    def __init__(self, tenure: Tenure, backend: Backend, books_lag_seconds: int, metrics: AgentMetrics) -> None:
        self._tenure = tenure
        self._backend = backend
        self._lag = timedelta(seconds=books_lag_seconds)
        self._tries = Tries(tenure.settings, metrics, "observe", AGAIN_SECONDS, site=tenure.site)
        self._urgent: set[str] = set()
        self._rota = Rota(tenure.settings.full_pass_seconds)
        self._since: float | None = None
        self._progress_at = 0.0
        self._watched: dict[str, Watched] = {}
        """By reference, as of the last time that all were gone through: some may be over, or not wanted any more."""

    def look(self, reference: str) -> None:
        """Look at this one in the next pass, changed or not."""
        self._urgent.add(reference)

    async def iteration(self) -> float:
        if not self._tenure.synced:
            return self._tenure.settings.first_pause_seconds
        try:
            await self._pass()
        except BackendError as error:
            self._tenure.outbox.trouble("observe", str(error))
            return self._tries.failed(error)
        self._tries.well()
        self._tenure.outbox.well("observe")
        return self._tenure.settings.observe_seconds

    async def _pass(self) -> None:
        now = await self._backend.now()
        urgent, self._urgent = self._urgent, set()
        try:
            changed = await self._backend.changed(self._since)
            urgent.update(changed or ())
            at = clock.monotonic()
            progress = at >= self._progress_at
            if progress or changed is None or not urgent <= self._watched.keys():
                items = self._tenure.items.values()
                self._watched = {one.reference: one for one in items if one.reference is not None and _open(one)}
            watched = self._watched
            urgent.update(watched if changed is None else (), self._rota.turns(watched, at))
            wanted = sorted(reference for reference in watched.keys() & urgent if _open(watched[reference]))
            if wanted:
                for reference, seen in (await self._backend.observe(wanted)).items():
                    self._tell(watched[reference], seen)
        except BackendError:
            self._urgent |= urgent
            raise
        self._since = now.timestamp()
        if progress:
            self._advance(now, watched.values())

    def _tell(self, watched: Watched, seen: Seen | NotSeen) -> None:
        if watched.desired is Desired.NOTHING:
            return
        items = watched.saw(seen, self._lag)
        if any(isinstance(item, UsageStated) for item in items):
            steps.reach_now("meter")
        self._tenure.outbox.add(items)

    def _advance(self, now: datetime, watched: Iterable[Watched]) -> None:
        """State how far usage is complete. What is released after `now` was asked for can only run after it."""
        through = now - self._lag
        for item in watched:
            if item.settled:
                continue
            second = item.complete_through(self._lag)
            if second is None:
                return
            through = min(through, second)
        self._tenure.outbox.complete_through(through)
        self._progress_at = clock.monotonic() + self._tenure.settings.progress_seconds


def _open(item: Watched) -> bool:
    """Something new may be seen of it, and is wanted."""
    return not item.settled and item.desired is not Desired.NOTHING
