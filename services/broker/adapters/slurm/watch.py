"""Looks at our submissions at Slurm, and reads no more than what has changed.

Releases that list states (24.05 and newer) are asked for those of ours in few questions (`listing.py`), and then for each task whose
state isn't what it was. 22.05 is asked for each submission by itself, the more often the more lately something of it changed. On
neither are more reads made than there is a budget for (`pace.py`): what it leaves no room for has its turn in a later call.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from caravan.kernel import clock
from caravan.kernel.logs import get_logger
from services.broker.adapters.port import NotSeen, Seen
from services.broker.adapters.slurm import output
from services.broker.adapters.slurm.dialect import Exit
from services.broker.adapters.slurm.known import Known, Run
from services.broker.adapters.slurm.listing import Listing
from services.broker.adapters.slurm.pace import Trust, Turns, interval
from services.broker.adapters.slurm.reads import AT_ONCE, Reads
from services.broker.adapters.slurm.records import Record
from services.broker.adapters.slurm.reference import Reference
from services.broker.adapters.slurm.rest import Rest
from services.broker.adapters.slurm.settings import Settings
from services.broker.adapters.slurm.site_clock import SiteClock
from services.broker.adapters.slurm.states import Stage, meaning
from services.broker.adapters.slurm.tres import Accelerators
from services.broker.adapters.slurm.watched import Phase, State, Watched, waits

log = get_logger(__name__)

READS_PER_SECOND: Final = 30
"""On 22.05, where a quiet site takes them all."""
CHANGES_PER_SECOND: Final = 200
"""Where states are listed: only what changed is read, and at times why something waits."""
REASONS_PER_SECOND: Final = 5
"""Of these at most."""
REASON_SOONEST_SECONDS: Final = 1.0
REASON_LATEST_SECONDS: Final = 60.0
"""Between looks at why something waits, where a list of states says that it does: as long as it has waited for the same."""
BOOKS_PER_SECOND: Final = 100
BOOKS_PATIENCE_SECONDS: Final = 1.0
"""How long a look waits for what slurmdbd says. What comes later is named by `changed`."""
GONE_KEPT: Final = 10_000
"""Of submissions that were let go it is known without asking that nothing is to be seen; older ones would be looked up at Slurm again,
which has them as ended."""
UNUSED_SECONDS: Final = 5.0
"""Until what `changed` named and nobody looked at is named again."""


class Watch:
    """The submissions of one site that someone asks for."""

    def __init__(self, rest: Rest, site_clock: SiteClock, settings: Settings, accelerators: Accelerators) -> None:
        self._rest = rest
        self._clock = site_clock
        self._settings = settings
        self._accelerators = accelerators
        self._reads = Reads(rest, settings.cluster)
        self._listing = Listing(rest, self._reads, site_clock)
        self._items: dict[str, Watched] = {}
        self._of_job: dict[int, set[str]] = {}
        self._gone: dict[str, None] = {}
        """In the order in which they went."""
        self._looks = 0
        self._turns, self._books_turns = Turns(), Turns()
        self._books_trust = Trust()
        self._books_task: asyncio.Task[None] | None = None
        self._books_asked_at = 0.0
        self._books_came: set[str] = set()
        """Of whom slurmdbd has said something that nobody has looked at yet."""

    async def close(self) -> None:
        """Ask no more."""
        if self._books_task is not None:
            self._books_task.cancel()
            await asyncio.wait({self._books_task})

    def touch(self, reference: str) -> None:
        """It was acted on: what is known of it may be wrong."""
        item = self._item(reference)
        if item is not None and item.phase is not Phase.SETTLED:
            item.touch()
            self._listing.touch(item.known.reference.job)
            self._turns.queue.touch(reference)

    def released(self, reference: str) -> None:
        """It was released just now: on a release that lists states it is known how it stands, and why it waits is read in its turn."""
        item = self._item(reference)
        if item is None or item.phase is Phase.SETTLED:
            return
        at = clock.monotonic()
        item.was_released(at + max(REASON_SOONEST_SECONDS, len(self._turns.queue) / REASONS_PER_SECOND))
        self._listing.touch(item.known.reference.job)
        self._turns.queue.touch(reference)

    def drop(self, reference: str) -> None:
        """Nothing is to be seen of it any more: it was discarded or forgotten."""
        self._gone[reference] = None
        if len(self._gone) > GONE_KEPT:
            del self._gone[next(iter(self._gone))]
        self._books_came.discard(reference)
        item = self._items.pop(reference, None)
        if item is not None:
            self._let_go(reference, item)

    def dropped(self, reference: str) -> bool:
        return reference in self._gone

    async def observe(self, references: Sequence[str]) -> dict[str, Seen | NotSeen]:
        """What was never read and is not now, since the budget leaves no room, is left out. One that is asked for alone is needed
        for a decision: it is read whatever was spent. Raises Unavailable.
        """
        items = {text: item for text in references if (item := self._item(text)) is not None}
        await self._look(items)
        await self._ask_books(items)
        self._books_came -= items.keys()
        at = clock.monotonic()
        seen: dict[str, Seen | NotSeen] = {
            text: NotSeen(True, "there is no such submission") for text in references if text not in items
        }
        return seen | {
            text: item.known.seen(at, self._settings.cluster, self._accelerators)
            for text, item in items.items()
            if item.phase is not Phase.NEW or len(items) == 1
        }

    async def changed(self) -> list[str]:
        """References that are worth a look now. Raises Unavailable."""
        lists = await self._lists_states()
        if lists:
            await self._listing.ask()
            self._hear()
        at = clock.monotonic()
        self._choose(lists, at)
        if self._may_ask_books(at):
            self._books_turns.choose(at, BOOKS_PER_SECOND, self._books_of)
        later = at + UNUSED_SECONDS
        return [*(self._turns.offer(later) | self._books_turns.offer(later) | self._books_came)]

    async def _lists_states(self) -> bool:
        return (await self._rest.dialect()).lists_states

    def _item(self, text: str) -> Watched | None:
        reference = Reference.parse(text)
        if reference is None or text in self._gone:
            return None
        item = self._items.get(text)
        if item is None:
            item = self._items[text] = Watched(Known(reference))
            self._of_job.setdefault(reference.job, set()).add(text)
            self._listing.add(reference.job, max(1, reference.tasks))
            self._turns.queue.due(text, clock.monotonic())
        return item

    def _let_go(self, text: str, item: Watched) -> None:
        """Ask for it no more."""
        for turns in (self._turns, self._books_turns):
            turns.drop(text)
        job = item.known.reference.job
        others = self._of_job.get(job, set())
        others.discard(text)
        if not others:
            self._of_job.pop(job, None)
            self._listing.remove(job)

    def _hear(self) -> None:
        """Take in which states have changed, or may have."""
        gaps = self._listing.gaps()
        for job in self._listing.news() | gaps:
            for text in self._of_job.get(job, ()):
                if job in gaps:
                    self._items[text].was_out_of_sight()
                self._items[text].has_changed()
                self._turns.queue.touch(text)

    def _choose(self, lists: bool, at: float) -> None:
        per_second = CHANGES_PER_SECOND if lists else READS_PER_SECOND
        self._turns.choose(at, per_second, lambda text, most: self._tasks(lists, text, at)[:most])

    def _tasks(self, lists: bool, text: str, at: float) -> list[str]:
        """What is to be read of it."""
        item = self._items[text]
        job = item.known.reference.job
        return item.to_read(self._listing.states(job), at) if lists else [str(job)]

    def _books_of(self, text: str, most: int) -> list[str]:
        return [str(self._items[text].known.reference.job)]

    async def _look(self, items: Mapping[str, Watched]) -> None:
        """Read those of these whose turn it is."""
        lists = await self._lists_states()
        if lists:
            await self._listing.ask({item.known.reference.job for item in items.values()})
            self._hear()
        second, at = await self._clock.now(), clock.monotonic()
        self._choose(lists, at)
        for text in [*items] if len(items) == 1 else []:
            if text in self._items and (items[text].phase is Phase.NEW or self._turns.queue.is_due(text, at)):
                self._turns.insist(text, at, self._tasks(lists, text, at))
        reading = self._turns.begin(items)
        self._looks = look = self._looks + 1
        # others may have the states listed anew while these are read
        listed = {text: self._listing.as_listed(items[text].known.reference.job) for text in reading}
        try:
            read = await asyncio.gather(*(self._read(tasks) for tasks in reading.values()))
        except BaseException:
            for text in reading.keys() & self._items.keys():
                self._turns.queue.touch(text)
            raise
        at = clock.monotonic()
        for text, found in zip(reading, read, strict=True):
            if text not in self._items or not self._items[text].is_news(look):
                continue
            if lists:
                self._take_listed(text, found, *listed[text], at)
            else:
                self._take_alone(text, found, second, at)
            self._follow_up(text, at)
        for text, item in items.items():
            if lists and item.phase is Phase.CURRENT and text in self._items:
                item.known.still(self._listing.second(item.known.reference.job))

    async def _read(self, tasks: list[str]) -> list[tuple[str, list[Record]]]:
        return list(zip(tasks, await asyncio.gather(*map(self._reads.job, tasks)), strict=True))

    def _take_listed(
        self,
        text: str,
        read: list[tuple[str, list[Record]]],
        states: Mapping[str, State],
        second: int,
        at: float,
    ) -> None:
        """`states` as they were listed at `second` of slurmctld's clock, before the reads."""
        item = self._items[text]
        for _, records in read:
            self._take(item, records)
        reason_due_at = at + self._reason_pause(item, at)
        for task, records in read:
            item.was_read(task, (index for record in records for index in record.waiting), states, reason_due_at)
        ours = () if item.known.foreign else states.values()
        if not item.to_read(states, at):
            item.known.stands(ours, second)
            item.was_caught_up()
        elif item.phase is Phase.NEW:
            item.known.stands(ours, item.known.seen_at)
        if item.to_read(self._listing.states(item.known.reference.job), at):
            item.has_changed()
            self._turns.queue.touch(text)
        elif text not in self._turns.queue and any(map(waits, ours)):
            self._turns.queue.due(text, item.reason_due_at)

    def _reason_pause(self, item: Watched, at: float) -> float:
        """Seconds until it is read again why it waits. What isn't released waits for that, and is touched then."""
        quiet = item.looked(item.known.detail, at) if item.known.released else REASON_LATEST_SECONDS
        pause = min(max(quiet, REASON_SOONEST_SECONDS), REASON_LATEST_SECONDS)
        return max(pause, len(self._turns.queue) / REASONS_PER_SECOND)

    def _take_alone(self, text: str, read: list[tuple[str, list[Record]]], second: int, at: float) -> None:
        item = self._items[text]
        records = [record for _, records in read for record in records]
        self._take(item, records)
        ours = [record for record in records if record.name == item.known.reference.tag]
        item.known.stands([record.state for record in ours], second)
        quiet = item.looked([(record.job, record.state, record.reason) for record in ours], at)
        item.was_caught_up()
        # what has ended can be requeued until the books have its end
        if text not in self._turns.queue and item.known.present and item.phase is not Phase.SETTLED:
            self._turns.queue.due(text, at + interval(quiet, len(self._turns.queue), READS_PER_SECOND))

    def _follow_up(self, text: str, at: float) -> None:
        """Have slurmdbd asked, if need be; let go of what is settled."""
        item = self._items[text]
        if item.phase is Phase.SETTLED:
            self._let_go(text, item)
        elif item.phase is Phase.CURRENT and item.known.wants_books:
            self._books_turns.queue.due(text, max(at, item.books_due_at))

    def _take(self, item: Watched, records: list[Record]) -> None:
        item.known.take(records)
        for record in records:
            if meaning(record.state)[0] is Stage.UNKNOWN:
                log.error("slurm_state_unknown", state=record.state, job=record.job, site=self._settings.cluster)

    def _may_ask_books(self, at: float) -> bool:
        return self._books_trust.due(at) and (self._books_task is None or self._books_task.done())

    async def _ask_books(self, items: Mapping[str, Watched]) -> None:
        """slurmdbd may be away, late, or frozen, so that it never answers: what it would say comes later, and no look waits for it long."""
        at = clock.monotonic()
        if self._may_ask_books(at):
            self._books_turns.choose(at, BOOKS_PER_SECOND, self._books_of)
            for text in [*items] if len(items) == 1 else []:
                if self._books_turns.queue.is_due(text, at):
                    self._books_turns.insist(text, at, self._books_of(text, 1))
            asking = sorted(self._books_turns.begin(items), key=lambda text: items[text].books_asked_at)
            if asking:
                self._books_asked_at = at
                self._books_task = asyncio.create_task(self._take_books(asking), name="books")
        task = self._books_task
        if task is None:
            return
        left = self._books_asked_at + BOOKS_PATIENCE_SECONDS - clock.monotonic()
        await asyncio.wait({task}, timeout=max(0.0, left))
        if task.done():
            self._books_task = None if self._books_task is task else self._books_task
            task.result()

    async def _take_books(self, asking: Iterable[str]) -> None:
        """Ask of a few at once, until slurmdbd fails to answer: then of none of the rest. Where it has failed lately, one tries."""
        left = {text: self._items[text] for text in asking if text in self._items}
        try:
            codes_are_right = (await self._rest.dialect()).books_know_exit_codes
            once_more = True
            while left and (once_more or not self._books_trust.lost):
                once_more = False
                few = [*left.items()][: 1 if self._books_trust.lost else AT_ONCE]
                answered = await asyncio.gather(*(self._take_book(*one, codes_are_right) for one in few))
                if all(answered):
                    self._books_trust.answered()
                else:
                    self._books_trust.failed(clock.monotonic())
                for text, _ in few:
                    del left[text]
        finally:
            for text in left.keys() & self._items.keys():
                self._books_turns.queue.due(text, clock.monotonic())

    async def _take_book(self, text: str, item: Watched, codes_are_right: bool) -> bool:
        """Whether slurmdbd has answered."""
        records = await self._reads.books(item.known.reference.job)
        at = clock.monotonic()
        if records is not None:
            item.known.take_books(records, at, codes_are_right=codes_are_right)
            await self._read_exits(item.known)
        item.books_asked(at)
        if text in self._items:
            if records is not None:
                self._books_came.add(text)
            if item.phase is Phase.CURRENT:
                item.was_caught_up()
                self._follow_up(text, at)
        return records is not None

    async def _read_exits(self, known: Known) -> None:
        """Of what failed and nobody at Slurm says how: the exit codes that the scripts left."""
        folder = Path(self._settings.folder, known.reference.user)
        missing = {run: known.reference.output(index, "exit") for run, index in known.unexplained.items()}
        if missing:
            known.take_left(await asyncio.to_thread(_exits_left, folder, missing))


def _exits_left(folder: Path, names: Mapping[Run, str]) -> dict[Run, Exit | None]:
    return {run: output.exit_left(folder, name) for run, name in names.items()}
