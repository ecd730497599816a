"""The states of our submissions' tasks where slurmctld lists them (24.05 and newer): in few questions, of which an answer that says
the same as the last isn't read."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from caravan.kernel import clock
from services.broker.adapters.slurm.dialect import words
from services.broker.adapters.slurm.reads import Reads
from services.broker.adapters.slurm.rest import Rest, readable
from services.broker.adapters.slurm.site_clock import SiteClock

QUERY_BYTES: Final = 7_800
"""A question's URL stays under 8 KiB."""
TASKS_IN_A_QUESTION: Final = 4000
"""Its answer, of about 110 bytes for a task, stays under 1 MB, but for an array that is larger itself."""
ALONE_TASKS: Final = 100
"""An array of so many tasks has a question of its own: then all in the answer is its own, and no task's number needs to be looked up."""
FRESH_SECONDS: Final = 0.2
"""How long an answer serves those who ask again."""
AWAY_SECONDS: Final = 30.0
"""A job whose states weren't listed for so long may have been requeued and run again under the same state."""
State = tuple[str, ...]
"""In Slurm's words."""


@dataclass(eq=False)
class Question:
    """Submissions whose tasks are asked for together, and what was last answered."""

    alone: bool
    """It is about one large array."""
    jobs: dict[int, int] = field(default_factory=dict)
    """Job id -> tasks that it may have."""
    tasks: int = 0
    """Of all of them."""
    length: int = 0
    """Bytes of `query`, with a `&` at its end."""
    answer: bytes = b""
    told: dict[str, Any] = field(default_factory=dict)
    """`12`, or `12_3` for an array's task -> state, both as slurmctld writes them."""
    asked_at: float = float("-inf")
    heard_at: float = field(default_factory=clock.monotonic)
    """When an answer last came, or the question was made."""
    second: int = 0
    """slurmctld's clock when it was last asked, in epoch seconds."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def query(self) -> str:
        return "".join(map(_asked, self.jobs)).removesuffix("&")

    def has_room(self, job: int, tasks: int) -> bool:
        return (
            not self.alone
            and self.length + len(_asked(job)) <= QUERY_BYTES
            and self.tasks + tasks <= TASKS_IN_A_QUESTION
        )


class Listing:
    """Keeps who is asked for with whom: a submission that comes or goes changes one question, and the others' answers stay."""

    def __init__(self, rest: Rest, reads: Reads, site_clock: SiteClock) -> None:
        self._rest = rest
        self._reads = reads
        self._clock = site_clock
        self._questions: dict[int, Question] = {}
        """Job id -> the question that it is in."""
        self._all: dict[Question, None] = {}
        self._open: Question | None = None
        self._states: dict[int, dict[str, State]] = {}
        self._names: dict[int, set[str]] = {}
        """Job id -> what its tasks are called in the answer."""
        self._arrays: dict[int, int] = {}
        """A task's own id -> its array's."""
        self._own_ids: dict[int, set[int]] = {}
        """The other way round."""
        self._news: set[int] = set()
        self._gaps: set[int] = set()

    def add(self, job: int, tasks: int) -> None:
        """Ask for it from now on. `tasks`: how many it has at most."""
        if job in self._questions:
            return
        question = self._question(job, tasks)
        question.jobs[job] = tasks
        question.length += len(_asked(job))
        question.tasks += tasks
        question.asked_at = float("-inf")
        self._questions[job] = question
        self._all[question] = None

    def _question(self, job: int, tasks: int) -> Question:
        """One with room for it."""
        if tasks >= ALONE_TASKS:
            return Question(alone=True)
        if self._open is None or not self._open.has_room(job, tasks):
            self._open = next((one for one in self._all if one.has_room(job, tasks)), None) or Question(alone=False)
        return self._open

    def remove(self, job: int) -> None:
        """Ask for it no more."""
        question = self._questions.pop(job, None)
        if question is None:
            return
        question.tasks -= question.jobs.pop(job)
        question.length -= len(_asked(job))
        if not question.jobs:
            del self._all[question]
        # should it come again, then as something new
        for name in self._names.pop(job, ()):
            del question.told[name]
        question.answer = b""
        for number in self._own_ids.pop(job, ()):
            del self._arrays[number]
        self._states.pop(job, None)
        self._news.discard(job)

    def touch(self, job: int) -> None:
        """What is known of it may be wrong: don't answer from what was told before."""
        if job in self._questions:
            self._questions[job].asked_at = float("-inf")

    def states(self, job: int) -> Mapping[str, State]:
        """Task (`12_3`; `12` without an array) -> state. Empty: slurmctld has nothing of it."""
        return self._states.get(job, {})

    def as_listed(self, job: int) -> tuple[dict[str, State], int]:
        """The states as they are now, to be kept, and `second`."""
        return dict(self.states(job)), self.second(job)

    def second(self, job: int) -> int:
        """slurmctld's clock, in epoch seconds, as of which `states` are. 0: it is not asked for."""
        question = self._questions.get(job)
        return question.second if question is not None else 0

    def news(self) -> set[int]:
        """Jobs of which a state changed since this was last called."""
        news, self._news = self._news, set()
        return news

    def gaps(self) -> set[int]:
        """Jobs that were out of sight for a while since this was last called: what was read of them before says nothing."""
        gaps, self._gaps = self._gaps, set()
        return gaps

    async def ask(self, jobs: Collection[int] | None = None) -> None:
        """Have the states of these jobs as of now, or of all. Raises Unavailable."""
        asked = self._all if jobs is None else {self._questions[job]: None for job in jobs if job in self._questions}
        # one after another: side by side they cost us twice as much, and slurmctld no less
        for question in [*asked]:
            await self._ask(question)

    async def _ask(self, question: Question) -> None:
        async with question.lock:
            if clock.monotonic() - question.asked_at < FRESH_SECONDS:
                return
            second, question.asked_at = await self._clock.now(), clock.monotonic()
            if not question.jobs:
                return  # all of it was let go meanwhile; a question that names no job is one for all of the cluster's
            try:
                answer, said = await self._rest.read_news(f"jobs/state/?{question.query}", question.answer)
                if answer is not None:
                    if answer.faults:
                        raise answer.unavailable()
                    with readable():
                        told = {str(one["job_id"]): one["state"] for one in answer.content["jobs"]}
                    await self._learn(question, told)
                    self._take(question, told)
                    question.answer = said
            except BaseException:
                question.asked_at = float("-inf")
                raise
            question.second = second
            at = clock.monotonic()
            if at - question.heard_at > AWAY_SECONDS:
                self._gaps.update(question.jobs)
            question.heard_at = at

    def _take(self, question: Question, told: dict[str, Any]) -> None:
        changed = [name for name in told.keys() | question.told.keys() if told.get(name) != question.told.get(name)]
        # a task that starts has another id than it waited under: what has gone comes first
        for name in sorted(changed, key=lambda name: name in told):
            job, task = self._place(question, name)
            if job not in question.jobs:  # it was removed since the question was asked
                told.pop(name, None)
                continue
            self._news.add(job)
            names, states = self._names.setdefault(job, set()), self._states.setdefault(job, {})
            if name in told:
                names.add(name)
                states[task] = words(told[name])
            else:
                names.discard(name)
                states.pop(task, None)
        question.told = told

    def _place(self, question: Question, name: str) -> tuple[int, str]:
        """The submission that a name in the answer belongs to, and the task's name in ours."""
        number, index = _parts(name)
        job = next(iter(question.jobs), number) if question.alone else self._arrays.get(number, number)
        return job, f"{job}_{index}" if index else str(job)

    async def _learn(self, question: Question, told: Mapping[str, Any]) -> None:
        """24.11 names a task that has started by its own id (`39_1`), in an answer about the array 37."""
        if question.alone:
            return
        with readable():
            unknown = {_parts(name)[0] for name in told} - self._arrays.keys() - question.jobs.keys()
        numbers = sorted(unknown)
        found = await asyncio.gather(*(self._reads.job(str(number)) for number in numbers))
        for number, records in zip(numbers, found, strict=True):
            for array in [record.array for record in records if record.job == number and record.array in question.jobs]:
                self._arrays[number] = array
                self._own_ids.setdefault(array, set()).add(number)


def _parts(name: str) -> tuple[int, str]:
    """Id, and index (empty without an array)."""
    number, _, index = name.partition("_")
    return int(number), index


def _asked(job: int) -> str:
    return f"job_id={job}&"
