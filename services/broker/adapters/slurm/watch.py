"""Looks at our submissions at Slurm, and reads no more than what has changed.

Releases that list states (24.05 and newer) are asked for those of ours in one call, and then for each task whose state isn't what it
was. 22.05 is asked for each submission by itself, the more often the more lately something of it changed (`pace.py`).
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from caravan.contracts.jobs import Outcome
from caravan.kernel import clock
from caravan.kernel.logs import get_logger
from services.broker.adapters.port import NotSeen, Seen, Unavailable
from services.broker.adapters.slurm import output
from services.broker.adapters.slurm.dialect import words
from services.broker.adapters.slurm.errors import GONE
from services.broker.adapters.slurm.known import Known
from services.broker.adapters.slurm.pace import WAITING_SECONDS, Budget, Watched
from services.broker.adapters.slurm.records import Record, from_books, from_controller
from services.broker.adapters.slurm.reference import Reference
from services.broker.adapters.slurm.rest import Rest, readable
from services.broker.adapters.slurm.settings import Settings
from services.broker.adapters.slurm.site_clock import SiteClock
from services.broker.adapters.slurm.states import Stage, meaning
from services.broker.adapters.slurm.tres import Accelerators

log = get_logger(__name__)

AT_ONCE: Final = 8
IN_A_QUESTION: Final = 400
"""Submissions in one question for states: its URL stays under 8 KiB."""
STATES_SECONDS: Final = 0.2
"""How long the states that were listed serve those who ask again."""
States = dict[int, dict[str, tuple[str, ...]]]
"""Submission's job id -> task (`12_3`; `12` without an array) -> state."""


class Watch:
    """The submissions of one site that someone asks for."""

    def __init__(self, rest: Rest, site_clock: SiteClock, settings: Settings, accelerators: Accelerators) -> None:
        self._rest = rest
        self._clock = site_clock
        self._settings = settings
        self._accelerators = accelerators
        self._items: dict[str, Watched] = {}
        self._gone: set[str] = set()
        self._states: States = {}
        self._states_at = float("-inf")
        self._asked: frozenset[int] = frozenset()
        self._arrays: dict[int, int] = {}
        """A task's own id -> its array's."""
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._budget = Budget()

    def touch(self, reference: str) -> None:
        """It was acted on: what is known of it may be wrong."""
        self._states_at = float("-inf")
        item = self._items.get(reference)
        if item is not None:
            item.touch()

    def drop(self, reference: str) -> None:
        """Nothing is to be seen of it any more: it was discarded or forgotten."""
        item = self._items.pop(reference, None)
        if item is not None:
            for run in item.known.controller:
                self._arrays.pop(run[0], None)
        self._gone.add(reference)

    def dropped(self, reference: str) -> bool:
        return reference in self._gone

    async def observe(self, references: Sequence[str]) -> dict[str, Seen | NotSeen]:
        """Raises Unavailable."""
        items = {text: item for text in references if (item := self._item(text)) is not None}
        await self._look(list(items.values()))
        await self._ask_books([item for item in items.values() if item.books_due(clock.monotonic())])
        at = clock.monotonic()
        seen: dict[str, Seen | NotSeen] = dict.fromkeys(references, NotSeen(True, "there is no such submission"))
        return seen | {
            text: item.known.seen(at, self._settings.cluster, self._accelerators) for text, item in items.items()
        }

    async def changed(self) -> list[str]:
        """References that are worth a look now. Raises Unavailable."""
        at = clock.monotonic()
        open_items = {text: item for text, item in self._items.items() if not item.settled}
        if (await self._rest.dialect()).lists_states:
            states = await self._list_states(open_items.values())
            due = {text for text, item in open_items.items() if self._tasks_to_read(item, states, at)}
        else:
            due = {text for text, item in open_items.items() if item.read_again_at <= at}
        return [text for text, item in open_items.items() if text in due or item.books_due(at)]

    def _item(self, text: str) -> Watched | None:
        reference = Reference.parse(text)
        if reference is None or text in self._gone:
            return None
        return self._items.setdefault(text, Watched(Known(reference)))

    async def _look(self, items: list[Watched]) -> None:
        second = await self._clock.now()
        if (await self._rest.dialect()).lists_states:
            await self._by_states(items, second)
        else:
            await self._one_by_one(self._budget.affordable(items, clock.monotonic()), second)

    async def _by_states(self, items: list[Watched], second: int) -> None:
        states = await self._list_states(items)
        at = clock.monotonic()
        reads = [(item, task) for item in items for task in self._tasks_to_read(item, states, at)]
        found = await asyncio.gather(*(self._read(task) for _, task in reads))
        for (item, task), records in zip(reads, found, strict=True):
            job = item.known.reference.job
            # one record stands for all tasks of an array that wait, or were cancelled while they did
            read = [task, *(f"{job}_{index}" for record in records for index in record.waiting)]
            item.listed |= {one: states[job][one] for one in read if one in states[job]}
            item.read_again_at = at + WAITING_SECONDS
            self._take(item, records)
        for item in items:
            there = {} if item.known.foreign else states.get(item.known.reference.job, {})
            item.known.stands(there.values(), second)
            item.read = True

    def _tasks_to_read(self, item: Watched, states: States, at: float) -> list[str]:
        """Those whose state isn't what it was. Of those that wait one stands for all: it is read again at times, for the reason."""
        now = states.get(item.known.reference.job, {})
        if now == item.listed and item.read_again_at > at:
            return []
        tasks, waiting = [], []
        for task, state in now.items():
            if meaning(state)[0] is Stage.WAITING and item.listed.get(task, state) == state:
                waiting.append(task)
            elif item.listed.get(task) != state:
                tasks.append(task)
        return tasks + (waiting[:1] if item.read_again_at <= at else [])

    async def _list_states(self, items: Collection[Watched]) -> States:
        wanted = sorted({item.known.reference.job for item in items})
        fresh = clock.monotonic() - self._states_at < STATES_SECONDS
        if not fresh or not self._asked.issuperset(wanted):
            parts = [wanted[at : at + IN_A_QUESTION] for at in range(0, len(wanted), IN_A_QUESTION)]
            at = clock.monotonic()
            lists = await asyncio.gather(*(self._ask_states(part) for part in parts))
            self._states = {job: tasks for part in lists for job, tasks in part.items()}
            self._states_at, self._asked = at, frozenset(wanted)
        for item in items:
            item.was_listed(self._states_at)
        return self._states

    async def _ask_states(self, jobs: Sequence[int]) -> States:
        answer = await self._rest.read("jobs/state/", [("job_id", str(job)) for job in jobs])
        if answer.faults:
            raise answer.unavailable()
        with readable():
            told = [_entry(one) for one in answer.content["jobs"]]
        await self._learn({number for number, _, _ in told} - self._arrays.keys() - set(jobs))
        states: States = {}
        for number, index, state in told:
            job = self._arrays.get(number, number)
            states.setdefault(job, {})[f"{job}_{index}" if index else str(job)] = state
        return states

    async def _learn(self, numbers: set[int]) -> None:
        """24.11 names a task that has started by its own id (`39_1`), in an answer about the array 37."""
        for records in await asyncio.gather(*(self._read(str(number)) for number in sorted(numbers))):
            self._arrays |= {record.job: record.array for record in records if record.array}

    async def _one_by_one(self, items: list[Watched], second: int) -> None:
        found = await asyncio.gather(*(self._read(str(item.known.reference.job)) for item in items))
        at = clock.monotonic()
        for item, records in zip(items, found, strict=True):
            self._take(item, records)
            ours = [record for record in records if record.name == item.known.reference.tag]
            item.known.stands([record.state for record in ours], second)
            item.looked([(record.job, record.state, record.reason) for record in ours], at)

    async def _read(self, task: str) -> list[Record]:
        """What slurmctld has of it: nothing, when it has forgotten it."""
        async with self._slots:
            answer = await self._rest.read(f"job/{task}")
        if answer.says(GONE):
            return []
        if answer.faults:
            raise answer.unavailable()
        with readable():
            return [from_controller(job) for job in answer.content["jobs"]]

    def _take(self, item: Watched, records: list[Record]) -> None:
        item.known.take(records)
        for record in records:
            if meaning(record.state)[0] is Stage.UNKNOWN:
                log.error("slurm_state_unknown", state=record.state, job=record.job, site=self._settings.cluster)

    async def _ask_books(self, items: list[Watched]) -> None:
        """slurmdbd may be away, or late: then what it would say comes later."""
        codes_are_right = (await self._rest.dialect()).books_know_exit_codes
        found = await asyncio.gather(*(self._read_books(item.known.reference.job) for item in items))
        for item, records in zip(items, found, strict=True):
            at = clock.monotonic()
            if records is not None:
                item.known.take_books(records, at, codes_are_right=codes_are_right)
                await asyncio.to_thread(self._read_exits, item.known)
            item.asked_books(at)

    async def _read_books(self, job: int) -> list[Record] | None:
        try:
            async with self._slots:
                answer = await self._rest.read(f"job/{job}", books=True)
            with readable():
                jobs = [from_books(job) for job in answer.content.get("jobs") or []]
            if answer.faults and not answer.says(GONE) and not jobs:
                raise answer.unavailable()
        except Unavailable as error:
            log.warning("slurm_books_unavailable", site=self._settings.cluster, reason=str(error))
            return None
        return jobs

    def _read_exits(self, known: Known) -> None:
        """Of what failed and nobody at Slurm says how: the exit codes that the scripts left."""
        folder = Path(self._settings.folder, known.reference.user)
        for run, record in known.books.items():
            failed = meaning(record.state)[1] is Outcome.USER
            if failed and record.exit is None and run not in known.controller and run not in known.left:
                known.left[run] = output.exit_left(folder, known.reference.output(record.index or 0, "exit"))


def _entry(listed: Mapping[str, Any]) -> tuple[int, str, tuple[str, ...]]:
    """One of the list of states: id, index (empty without an array), state."""
    number, _, index = str(listed["job_id"]).partition("_")
    return int(number), index, words(listed["state"])
