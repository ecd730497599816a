"""How what vouchers pay ends and comes back: a scenario each, and any of these in any order."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from random import Random
from typing import Final

from bench.vouchers.checks import check
from bench.vouchers.runs import Running
from bench.vouchers.scene import MONTHS, Scene
from bench.vouchers.town import starts

HELD: Final[Sequence[Mapping[str, int]]] = ({"city": 5000}, {"city": 4000, "province": 8000}, {"province": 3000})
"""Of each enterprise, by programme, what its voucher is for, in fen."""


async def _used(scene: Scene, place: int, seconds: int) -> Running:
    """A job of an enterprise that is over."""
    job = await scene.start(scene.buyers[place], seconds)
    await scene.use(job, seconds)
    await scene.settle(job)
    await check(scene, "use")
    return job


async def _closed(scene: Scene) -> None:
    await scene.close()
    await check(scene, "close")


async def clawback(scene: Scene) -> None:
    """Some is taken back; the voucher goes on, the next statement names it, and a fault later takes nothing a second time."""
    voucher = scene.of(0, "city")
    job = await scene.start(scene.buyers[0], 10_000)
    await scene.use(job, 10_000)
    await _closed(scene)
    await scene.claw_back(voucher, 1200)
    await check(scene, "clawback")
    await _used(scene, 0, 8000)
    await _closed(scene)
    await scene.fault(job)
    await check(scene, "fault")
    await _used(scene, 0, 100)
    await _closed(scene)


async def revocation(scene: Scene) -> None:
    """While a job runs: what was paid by earlier closes stays."""
    await _used(scene, 1, 5000)
    await _closed(scene)
    job = await scene.start(scene.buyers[1], 6000)
    await scene.use(job, 2000)
    await check(scene, "use")
    await scene.revoke(scene.of(1, "city"))
    await check(scene, "revocation")
    await scene.use(job, 3000)
    await check(scene, "use")
    await scene.settle(job)
    await check(scene, "settle")
    await _closed(scene)


async def expiry(scene: Scene) -> None:
    """In the middle of a job, which is covered to its end; a job that is submitted later isn't. One that is over, for which another voucher
    is pledged, is claimed of it too."""
    await _used(scene, 0, 3000)
    await _closed(scene)
    scene.town.at(starts((2027, 1)) - timedelta(minutes=50))
    job = await scene.start(scene.buyers[0], 9000)
    await scene.use(job, 6000)
    await check(scene, "use")
    await _closed(scene)
    other = await scene.start(scene.buyers[1], 22_000)
    await scene.use(other, 10_000)
    await scene.settle(other)
    await check(scene, "settle")
    await scene.expire(scene.of(0, "city"))
    await check(scene, "expiry")
    await scene.use(job, 2000)
    await check(scene, "use")
    await _used(scene, 0, 2000)
    await scene.settle(job)
    await check(scene, "settle")
    await _closed(scene)


async def fault(scene: Scene) -> None:
    """The site's, after what it was charged was redeemed: before the close, and behind it."""
    first, second = [await scene.start(scene.buyers[1], 8000) for _ in range(2)]
    for job in (first, second):
        await scene.use(job, 4000)
        await check(scene, "use")
    await scene.fault(first)
    await check(scene, "fault")
    await _closed(scene)
    await _used(scene, 1, 2500)
    await scene.fault(second)
    await check(scene, "fault")
    await _closed(scene)


async def correction(scene: Scene) -> None:
    """Of the year before, which has its own caps."""
    first = await scene.start(scene.buyers[0], 30_000)
    await scene.use(first, 12_000)
    await _closed(scene)
    second = await scene.start(scene.buyers[0], 30_000)
    await scene.use(second, 15_000)
    await _closed(scene)
    await scene.issue(scene.buyers[0], "city", 6000)
    await _used(scene, 0, 7000)
    await scene.less(first, 4000)
    await check(scene, "correction")
    await _closed(scene)
    await scene.less(second, 13_000)
    await check(scene, "correction")
    await _closed(scene)


async def taken_back(scene: Scene) -> None:
    """Whole hours of a job, which ended behind another one also then: that is filled first."""
    await _used(scene, 0, 12_000)
    job = await scene.start(scene.buyers[0], 30_000)
    await scene.use(job, 20_000)
    await check(scene, "use")
    await scene.less(job, 12_000)
    await check(scene, "correction")
    await _closed(scene)


async def credit_note(scene: Scene) -> None:
    """In parts, beside a clawback; the first enterprise's voucher, which was used up, pays for other lines then, though nothing is used."""
    for place in (0, 1):
        await _used(scene, place, 9000)
    await _used(scene, 0, 12_345)
    await _closed(scene)
    for number in range(4):
        line, left = scene.notable()[number % 2]
        await scene.note(line, left // 3)
        await check(scene, "credit note")
    await scene.claw_back(scene.of(1, "city"), scene.model.clawable(scene.of(1, "city")))
    await check(scene, "clawback")
    line, left = scene.notable()[-1]
    await scene.note(line, left)
    await check(scene, "credit note")
    await _used(scene, 1, 1000)
    await _closed(scene)


SCENARIOS: Final[Mapping[str, Callable[[Scene], Awaitable[None]]]] = {
    one.__name__: one for one in (clawback, revocation, expiry, fault, correction, taken_back, credit_note)
}


async def wander(scene: Scene, random: Random, steps: int) -> Counter[str]:
    """Any of it in any order, and all closed in the end. Returns what was done how often."""
    done = Counter[str]()
    for _ in range(steps):
        while not (step := await _any(scene, random)):
            pass
        await check(scene, step)
        done[step] += 1
    await _closed(scene)
    return done


async def _any(scene: Scene, random: Random) -> str | None:
    """What was done; None: it can't be, now."""
    jobs = list(scene.jobs.values())
    running = [job for job in jobs if not job.settled]
    with_use = [job for job in running if job.runs[0].used and not job.over]
    vouchers = list(scene.model.vouchers)
    match random.choices(
        (
            "start",
            "use",
            "settle",
            "fault",
            "correction",
            "close",
            "clawback",
            "revocation",
            "expiry",
            "credit note",
            "issue",
        ),
        (6, 6, 5, 3, 4, 6, 4, 1, 1, 5, 1),
    )[0]:
        case "start" as step:
            job = await scene.start(random.choice(scene.buyers), random.randrange(2000, 30_000))
            await scene.use(job, random.randrange(1000, _left(job)))
        case "use" as step if growing := [job for job in running if _left(job) > 1000]:
            job = random.choice(growing)
            await scene.use(job, random.randrange(1, _left(job)))
        case "settle" as step if running:
            await scene.settle(random.choice(running))
        case "fault" as step if faulty := [
            job for job in running if any(run.used and run.run not in job.over for run in job.runs)
        ]:
            await scene.fault(random.choice(faulty))
        case "correction" as step if with_use:
            job = random.choice(with_use)
            first = job.seconds(job.runs[0])
            await scene.less(job, random.randrange(1, first)) if first > 1 else None
        case "close" as step if scene.month != MONTHS[-1] and scene.open_lines():
            await scene.close()
        case "clawback" as step if clawable := [id for id in vouchers if scene.model.clawable(id) > 0]:
            voucher = random.choice(clawable)
            most = scene.model.clawable(voucher)
            await scene.claw_back(voucher, random.choice((most, random.randint(1, most))))
        case "revocation" as step if living := [id for id in vouchers if scene.model.state(id) == "issued"]:
            await scene.revoke(random.choice(living))
        case "expiry" as step if len(scene.town.closed) > 1:
            await scene.expire(vouchers[0])
        case "credit note" as step if notable := scene.notable():
            line, left = random.choice(notable)
            await scene.note(line, random.choice((left, random.randint(1, left))))
        case "issue" as step if len(vouchers) < 2 * len(HELD):
            await scene.issue(random.choice(scene.buyers), "province", random.randrange(1000, 5000))
        case _:
            return None
    return step


def _left(job: Running) -> int:
    """Seconds that its hold leaves."""
    return job.runs[0].hold.fen - job.costs()
