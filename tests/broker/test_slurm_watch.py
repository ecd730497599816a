"""How the adapter looks at many submissions: what it asks slurmrestd, and that it misses nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from caravan.kernel import clock
from services.broker.adapters.port import Backend, NotSeen, Seen, Unavailable
from services.broker.adapters.slurm import listing, pace, watch
from services.broker.adapters.slurm.errors import Answer
from services.broker.adapters.slurm.listing import ALONE_TASKS, QUERY_BYTES
from services.broker.adapters.slurm.reads import AT_ONCE, Reads
from services.broker.adapters.slurm.rest import Rest
from services.broker.adapters.slurm.watch import READS_PER_SECOND
from tests.broker.slurm_answers import ENDED, STARTED
from tests.broker.slurm_double import BOOKS_AWAY, SlurmDouble
from tests.broker.test_slurm_sick import opened

LISTS, ALONE = "v0.0.42", "v0.0.38"


@asynccontextmanager
async def at(double: SlurmDouble, folder: Path, timeout_seconds: float = 5) -> AsyncIterator[Backend]:
    async with double.listening(), opened(double.url, folder, timeout_seconds) as backend:
        yield backend


async def until(true: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    deadline = clock.monotonic() + seconds
    while not await true():
        assert clock.monotonic() < deadline, "it didn't become so"
        await asyncio.sleep(0.02)


async def all_seen(backend: Backend, references: list[str]) -> None:
    """Look until all of these were read once."""

    async def look() -> bool:
        return len(await backend.observe(references)) == len(references)

    await until(look, 20)


async def asked_again(backend: Backend, double: SlurmDouble) -> list[str]:
    """What `changed` says once the states have been asked for anew."""
    before, found = len(double.reads("jobs/state")), list[str]()

    async def look() -> bool:
        found[:] = await backend.changed(0.0) or []
        return len(double.reads("jobs/state")) > before

    await until(look)
    return found


def seen(found: Seen | NotSeen) -> Seen:
    assert isinstance(found, Seen), found
    return found


@pytest.mark.parametrize(("state", "tasks"), [("PENDING", 0), ("RUNNING", 0), ("PENDING", 5), ("RUNNING", ALONE_TASKS)])
async def test_of_a_quiet_queue_nothing_is_read_but_the_states(state: str, tasks: int, tmp_path: Path) -> None:
    double = SlurmDouble(LISTS)
    references = double.fill(8, state, tasks)
    async with at(double, tmp_path) as backend:
        await all_seen(backend, references)
        read = len(double.reads("job/"))
        for _ in range(3):
            assert await asked_again(backend, double) == []
            found = await backend.observe(references)
            assert all(seen(one).queued is False for one in found.values())
        assert len(double.reads("job/")) == read
    shown = seen(found[references[0]])
    assert len(shown.runs) == (max(1, tasks) if state == "RUNNING" else 0)


async def test_what_changed_is_told_and_read_and_nothing_else(tmp_path: Path) -> None:
    double = SlurmDouble(LISTS)
    references = double.fill(40, "PENDING")
    jobs = list(double.jobs)
    async with at(double, tmp_path) as backend:
        await all_seen(backend, references)
        double.asked.clear()
        double.jobs[jobs[3]][0] = "RUNNING"
        assert await asked_again(backend, double) == [references[3]]
        found = await backend.observe([references[3], references[4]])
        assert [len(seen(one).runs) for one in found.values()] == [1, 0]
        assert double.reads("job/") == [f"job/{jobs[3]}"]


@pytest.mark.parametrize("version", [LISTS, ALONE])
async def test_why_a_job_waits_is_read_again_while_its_state_stays(version: str, tmp_path: Path) -> None:
    double = SlurmDouble(version, reason="Priority")
    references = double.fill(3, "PENDING")
    async with at(double, tmp_path) as backend:
        await all_seen(backend, references)
        double.reason = "AssocGrpCpuLimit"

        async def told() -> bool:
            worth = await backend.changed(0.0) or []
            found = await backend.observe(worth) if worth else {}
            return any("AssocGrpCpuLimit" in seen(one).detail for one in found.values())

        await until(told, 20)


async def test_of_what_was_just_released_only_why_it_waits_is_read_and_that_in_its_turn(tmp_path: Path) -> None:
    double = SlurmDouble(LISTS)
    references = double.fill(2, "PENDING")
    async with at(double, tmp_path) as backend:
        await all_seen(backend, references)
        double.reason = "Priority"
        await backend.release(references[0])
        double.asked.clear()
        found = seen((await backend.observe(references))[references[0]])
        assert (found.released, found.queued, found.detail) == (True, True, "")
        assert double.reads("job/") == []

        async def told() -> bool:
            worth = await backend.changed(0.0) or []
            return bool(worth) and "Priority" in seen((await backend.observe(worth))[references[0]]).detail

        await until(told)
        assert double.reads("job/") == [f"job/{next(iter(double.jobs))}"]


async def test_what_was_released_and_starts_at_once_is_read_at_once(tmp_path: Path) -> None:
    double = SlurmDouble(LISTS)
    references = double.fill(1, "PENDING")
    async with at(double, tmp_path) as backend:
        await all_seen(backend, references)
        await backend.release(references[0])
        double.jobs[next(iter(double.jobs))][0] = "RUNNING"
        found = seen((await backend.observe(references))[references[0]])
        assert ([run.ended_at for run in found.runs], found.queued) == ([None], False)


async def test_what_slurmctld_has_forgotten_is_asked_of_the_books_and_then_let_go(tmp_path: Path) -> None:
    double = SlurmDouble(LISTS)
    references = double.fill(2, "RUNNING")
    first, other = list(double.jobs)
    async with at(double, tmp_path) as backend:
        await all_seen(backend, references)
        del double.jobs[first]
        double.books.add(first)
        assert await asked_again(backend, double) == [references[0]]

        async def ended() -> bool:
            return seen((await backend.observe(references))[references[0]]).ended

        await until(ended)
        await asked_again(backend, double)
        assert double.reads("jobs/state")[-1] == f"jobs/state?job_id={other}"


@dataclass
class FailsOnce(SlurmDouble):
    """At its second question for an hour of the books."""

    def answer(self, path: str, query: dict[str, list[str]]) -> dict[str, Any]:
        found = super().answer(path, query)
        fails = path == "jobs" and len(self.reads("jobs?")) == 2
        return {"jobs": [], "errors": [BOOKS_AWAY]} if fails else found


async def test_books_that_could_not_be_read_to_the_end_are_read_on_from_there(tmp_path: Path) -> None:
    double = FailsOnce(LISTS, books={1})
    hours = [clock.from_seconds(STARTED + 3600 * n) for n in range(4)]
    async with at(double, tmp_path) as backend:
        with pytest.raises(Unavailable):
            await backend.books(hours[0], hours[3])
        assert len((await backend.books(hours[0], hours[3])).runs) == 1
        asked = [path.split("=")[1].split("&")[0] for path in double.reads("jobs?")]
        assert asked == [f"uts{STARTED + 3600 * n}" for n in (0, 1, 1, 2)]
        await backend.books(hours[0], hours[3])
        assert len(double.reads("jobs?")) == 4 + 3, "what was read is not kept once it was told"


@pytest.mark.parametrize(("away", "suspended"), [(0, 0), (20, 20), (-7, 0)])
async def test_a_clock_that_was_set_back_while_a_run_lasted_spoils_no_day_of_the_books(
    tmp_path: Path, away: int, suspended: int
) -> None:
    double = SlurmDouble(LISTS, books={1}, ran=ENDED - STARTED - away)
    async with at(double, tmp_path) as backend:
        (run,) = (await backend.books(clock.from_seconds(STARTED), clock.from_seconds(ENDED))).runs
    assert (clock.to_seconds(run.start), run.end, run.suspended_seconds) == (
        STARTED,
        clock.from_seconds(ENDED),
        suspended,
    )


@pytest.mark.parametrize("version", [LISTS, ALONE])
async def test_what_is_run_again_before_the_books_have_its_end_is_seen(version: str, tmp_path: Path) -> None:
    double = SlurmDouble(version)
    references = double.fill(1, "COMPLETED")
    (job,) = double.jobs
    async with at(double, tmp_path) as backend:
        await all_seen(backend, references)
        double.jobs[job] = {0: "RUNNING"}

        async def runs() -> bool:
            (found,) = (await backend.observe(references)).values()
            return any(run.ended_at is None for run in seen(found).runs)

        await until(runs)


async def test_as_many_are_asked_for_in_a_question_as_its_address_has_room_for(tmp_path: Path) -> None:
    double = SlurmDouble(LISTS)
    room = QUERY_BYTES // len("job_id=100000&")
    references = double.fill(room + 40, "PENDING")
    async with at(double, tmp_path) as backend:
        await backend.observe(references)
        assert {path.count("job_id") for path in double.reads("jobs/state")} == {room, 40}
        assert all(len(path) < 8000 for path in double.reads("jobs/state"))


@pytest.mark.parametrize("tasks", [ALONE_TASKS - 1, ALONE_TASKS])
async def test_tasks_that_start_under_ids_of_their_own_are_found(tasks: int, tmp_path: Path) -> None:
    double = SlurmDouble(LISTS)
    array, beside = [*double.fill(1, "PENDING", tasks), *double.fill(1, "PENDING", 3)]
    job = min(double.jobs)
    async with at(double, tmp_path) as backend:
        await all_seen(backend, [array, beside])
        double.asked.clear()
        double.jobs[job] |= {7: "RUNNING", 9: "RUNNING"}
        assert await asked_again(backend, double) == [array]
        found = await backend.observe([array, beside])
        assert [run.index for run in seen(found[array]).runs] == [7, 9]
        assert seen(found[beside]).runs == ()
        looked_up = [] if tasks >= ALONE_TASKS else [f"job/{job + 8}", f"job/{job + 10}"]
        assert sorted(double.reads("job/")) == sorted([*looked_up, f"job/{job}_7", f"job/{job}_9"])


async def test_an_array_that_changes_at_once_is_told_of_only_when_all_of_it_was_read(tmp_path: Path) -> None:
    double = SlurmDouble(LISTS)
    (array,) = double.fill(1, "PENDING", 300)
    job = min(double.jobs)
    async with at(double, tmp_path) as backend:
        await all_seen(backend, [array])
        before = seen((await backend.observe([array]))[array]).seen_at
        double.jobs[job] = dict.fromkeys(range(300), "COMPLETED")
        await asked_again(backend, double)
        part = seen((await backend.observe([array, array]))[array])
        assert not part.ended or len(part.runs) == 300

        async def ended() -> bool:
            return seen((await backend.observe([array]))[array]).ended

        await until(ended)
        whole = seen((await backend.observe([array]))[array])
        assert (len(whole.runs), whole.seen_at >= before) == (300, True)


@pytest.mark.parametrize("version", [LISTS, ALONE])
async def test_a_burst_is_read_within_the_budget_and_none_is_left_out_for_ever(version: str, tmp_path: Path) -> None:
    double = SlurmDouble(version)
    references = double.fill(70, "PENDING")
    async with at(double, tmp_path) as backend:
        first = await backend.observe(references)
        if version == ALONE:
            assert len(first) == len(double.reads("job/")) == READS_PER_SECOND // 2
        await all_seen(backend, references)
        assert set(double.reads("job/")) == {f"job/{job}" for job in double.jobs}


async def test_one_that_is_asked_for_alone_is_read_whatever_was_spent(tmp_path: Path) -> None:
    double = SlurmDouble(ALONE)
    references = double.fill(100, "PENDING")
    async with at(double, tmp_path) as backend:
        first = await backend.observe(references)
        missing = references[-1]
        assert missing not in first
        assert isinstance((await backend.observe([missing]))[missing], Seen)


@pytest.mark.parametrize("version", [LISTS, ALONE])
async def test_what_was_cancelled_is_looked_at_before_those_that_wait_for_their_turn(
    version: str, tmp_path: Path
) -> None:
    double = SlurmDouble(version)
    references = double.fill(200, "PENDING")
    async with at(double, tmp_path) as backend:
        await all_seen(backend, references[:1])
        await backend.observe(references)
        await backend.release(references[0])
        looked = await backend.changed(0.0)
        assert looked is not None
        if references[0] not in looked:  # the second's budget was spent

            async def chosen() -> bool:
                return references[0] in (await backend.changed(0.0) or [])

            await until(chosen, 2)


async def test_what_changes_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    double = SlurmDouble(LISTS)
    reference, other = double.fill(2, "RUNNING")
    job = min(double.jobs)
    async with at(double, tmp_path) as backend:
        await all_seen(backend, [other])
        double.slow = asyncio.Event()
        look = asyncio.create_task(backend.observe([reference]))

        async def is_being_read() -> bool:
            return f"job/{job}" in double.asked

        await until(is_being_read)
        double.jobs[job][0] = "COMPLETED"
        before = len(double.reads("jobs/state"))

        async def listed() -> bool:
            await backend.observe([other])
            return len(double.reads("jobs/state")) > before

        await until(listed)
        double.slow.set()
        assert not seen((await look)[reference]).ended
        assert await backend.changed(0.0) == [reference]
        assert seen((await backend.observe([reference]))[reference]).ended


async def test_what_nobody_looks_at_takes_no_turn_from_others(tmp_path: Path) -> None:
    double = SlurmDouble(ALONE)
    nobodys = double.fill(2 * READS_PER_SECOND, "PENDING")
    async with at(double, tmp_path) as backend:
        await backend.observe(nobodys)
        (wanted,) = double.fill(1, "PENDING")

        async def read() -> bool:
            await backend.changed(0.0)
            return wanted in await backend.observe([wanted, nobodys[0]])

        await until(read)


async def test_what_is_chosen_beside_a_look_at_others_is_not_put_off(tmp_path: Path) -> None:
    double = SlurmDouble(LISTS)
    references = double.fill(3, "RUNNING")
    jobs = list(double.jobs)
    async with at(double, tmp_path) as backend:
        await all_seen(backend, references)
        double.jobs[jobs[0]][0] = "COMPLETED"
        before = len(double.reads("jobs/state"))

        async def asked() -> bool:
            await backend.observe(references[1:])
            return len(double.reads("jobs/state")) > before

        await until(asked)
        assert await backend.changed(0.0) == references[:1]


async def test_slurmctld_is_read_while_slurmdbd_is_frozen() -> None:
    asked, frozen = list[str](), asyncio.Event()

    class Frozen:
        async def read(self, path: str, *, books: bool = False) -> Answer:
            asked.append(path)
            if books:
                await frozen.wait()
            return Answer(200, {"jobs": []}, ())

    reads = Reads(cast(Rest, Frozen()), "one")
    waiting = asyncio.gather(*(reads.books(job) for job in range(2 * AT_ONCE)))
    await asyncio.sleep(0)
    assert len(asked) == AT_ONCE, "more than that slurmdbd isn't asked at once"
    async with asyncio.timeout(10):
        assert await reads.job("7") == []
    frozen.set()
    assert await waiting == [[]] * 2 * AT_ONCE


async def has_forgotten_all(double: SlurmDouble, backend: Backend, count: int) -> list[str]:
    """So many submissions that run; then slurmctld has none of them any more, and slurmdbd has all of them."""
    references = double.fill(count, "RUNNING")
    await all_seen(backend, references)
    double.books |= set(double.jobs)
    double.jobs.clear()
    return references


async def all_ended(backend: Backend, references: list[str]) -> bool:
    return all(seen(one).ended for one in (await backend.observe(references)).values())


@pytest.mark.parametrize("version", [LISTS, ALONE])
async def test_of_a_frozen_slurmdbd_no_more_than_one_question_waits_at_a_time(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "TRUST_SOONEST_SECONDS", 0.01)
    double = SlurmDouble(version)
    async with at(double, tmp_path, timeout_seconds=0.5) as backend:
        references = await has_forgotten_all(double, backend, 4 * AT_ONCE)
        double.thaw = asyncio.Event()
        counts = [0]

        async def asked_thrice() -> bool:
            await backend.observe(references)
            if (count := len(double.reads("books"))) != counts[-1]:
                counts.append(count)
            return len(counts) > 3

        await until(asked_thrice)
        assert counts == [0, AT_ONCE, AT_ONCE + 1, AT_ONCE + 2]
        double.thaw.set()
        await until(lambda: all_ended(backend, references), 20)


@pytest.mark.parametrize("version", [LISTS, ALONE])
async def test_no_look_waits_long_for_slurmdbd_and_what_it_says_later_is_told(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "BOOKS_PATIENCE_SECONDS", 0.01)
    double = SlurmDouble(version)
    async with at(double, tmp_path, timeout_seconds=60) as backend:
        references = await has_forgotten_all(double, backend, 1)
        double.thaw = asyncio.Event()

        async def asked() -> bool:
            assert not await all_ended(backend, references)
            return bool(double.reads("books"))

        await until(asked)
        (runs,) = double.fill(1, "RUNNING")
        assert seen((await backend.observe([runs, *references]))[runs]).runs, "slurmctld is read meanwhile"
        double.thaw.set()

        async def told() -> bool:
            return references[0] in (await backend.changed(0.0) or [])

        await until(told)
        assert await all_ended(backend, references)


@pytest.mark.parametrize("version", [LISTS, ALONE])
@pytest.mark.parametrize("settled", [True, False])
async def test_a_look_that_began_before_another_and_comes_after_it_changes_nothing(
    settled: bool, version: str, tmp_path: Path
) -> None:
    double = SlurmDouble(version)
    (reference,) = double.fill(1, "RUNNING")
    (job,) = double.jobs
    async with at(double, tmp_path, timeout_seconds=20) as backend:
        double.slow = first = asyncio.Event()
        late = asyncio.create_task(backend.observe([reference]))

        async def is_being_read() -> bool:
            return f"job/{job}" in double.asked

        await until(is_being_read)
        double.slow, double.jobs[job][0] = None, "COMPLETED"
        if settled:
            double.books.add(job)
        found = list[Seen]()

        async def ended() -> bool:
            found[:] = [seen((await backend.observe([reference]))[reference])]
            return found[0].ended and all(run.final is settled for run in found[0].runs)

        await until(ended)
        double.jobs.clear()
        first.set()
        (shown,) = (await late).values()
        assert seen(shown).ended
        assert [run.ended_at for run in seen(shown).runs] == [run.ended_at for run in found[0].runs]


async def test_that_one_goes_costs_the_same_however_many_are_asked_for_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, parts = list[str](), listing._parts

    def counted(name: str) -> tuple[int, str]:
        looked.append(name)
        return parts(name)

    costs = list[int]()
    for count in (2, 60):
        double = SlurmDouble(LISTS)
        references = [*double.fill(count, "RUNNING"), *double.fill(1, "RUNNING", 3)]
        async with at(double, tmp_path) as backend:
            await all_seen(backend, references)
            with monkeypatch.context() as patched:
                patched.setattr(listing, "_parts", counted)
                for gone in (references[0], references[-1]):
                    await backend.forget(gone)
            costs.append(len(looked))
            assert await asked_again(backend, double) == []
    assert costs[0] == costs[1]


async def test_of_what_has_gone_little_is_kept_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "GONE_KEPT", 4)
    double = SlurmDouble(LISTS)
    async with at(double, tmp_path) as backend:
        await backend.now()
        before = kept(backend)
        references = [*double.fill(8, "RUNNING"), *double.fill(2, "RUNNING", 3)]
        await all_seen(backend, references)
        assert kept(backend) > before + len(references)
        for gone in references:
            await backend.forget(gone)
        assert kept(backend) == before + 4


def kept(thing: object) -> int:
    """Keys in all of the adapter's dictionaries and sets that are reached from `thing`."""
    count = 0
    for value in vars(thing).values():
        if isinstance(value, dict | set):
            count += len(value)
        elif type(value).__module__.startswith("services.broker.adapters.slurm") and hasattr(value, "__dict__"):
            count += kept(value)
    return count
