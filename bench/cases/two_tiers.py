"""A Slurm and a Kubernetes cluster at once: a job goes where it is cheapest of where it can run, and its placement says why."""

import asyncio
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Final

from bench.both_trials import on_both
from bench.case import Trial, Verdict, case
from bench.demo import centre, enterprise, everywhere
from bench.demo.stages import Kubernetes, Slurm
from bench.demo.telling import Teller
from bench.demo.world import Hall, World
from bench.first_hand import at_kubernetes, at_slurm
from bench.platform import Platform, until
from caravan.contracts.jobs import JobState
from caravan.contracts.offerings import OfferingDraft
from caravan.contracts.problems import NoOfferingFits
from caravan.contracts.quotes import Placement
from caravan.contracts.spec import Container, JobSpec, Where
from tests.backends.kubernetes.image import BUSYBOX

CHEAP: Final = Decimal("3.60")
DEAR: Final = Decimal("7.20")
"""For a core-hour: what either backend adds to a walltime weighs less."""
ROUNDS: Final = 8
"""In the long form; else one. Prices change twice in each."""
AHEAD: Final = 100
"""Jobs that may wait at Kubernetes, whose node has few cores: where a job goes is about prices here, and not about room."""
BROKEN: Final = re.compile(r"[\s│]+")
"""Where a terminal may break a sentence in a table."""


@case(
    "two-tiers",
    claim="Slurm and Kubernetes at once: a job that fits both runs where it is cheaper, also after prices change; a container only where "
    "containers run, a script at either; each placement says why, at the API and in `caravan jobs show`",
    goal="each job where it was meant to run, each placement with its reasons",
)
def two_tiers(trial: Trial) -> Verdict:
    return on_both(trial, _tried)


async def _tried(trial: Trial, platform: Platform, one: Slurm, other: Kubernetes) -> Verdict:
    async with AsyncExitStack() as stack:
        world = World(Teller(quiet=True), platform, one, trial.folder, stack, (other,))
        await world.begin()
        await centre.joins(world)
        await enterprise.opens_a_project(world)
        await everywhere.opens(world)
        at_one, at_other = world.halls
        tiers = Tiers(world, at_one, at_other)
        await tiers.let_wait(tiers.kubernetes)
        for number in range(ROUNDS if trial.long else 1):
            for cheap, dear in ((tiers.kubernetes, tiers.slurm), (tiers.slurm, tiers.kubernetes)):
                await tiers.price(cheap, dear)
                await tiers.cheapest(f"cheapest-{number}", cheap)
                await tiers.container(f"container-{number}")
                await tiers.pinned(f"script-{number}", dear)
            trial.say(f"prices changed {2 * number + 2} times, {len(tiers.meant)} jobs placed")
        await tiers.ran(one, other)
        read = await tiers.read_by_people()
    went = Counter(hall.stage.adapter for hall in tiers.meant.values())
    return Verdict(
        not tiers.faults,
        f"{len(tiers.meant)} jobs, {went['slurm']} at Slurm and {went['kubernetes']} at Kubernetes, {read} sentences printed: "
        f"{len(tiers.faults)} otherwise than meant",
        {"faults": tiers.faults, "why": sorted({placement.why for placement in tiers.placements.values()})},
    )


@dataclass
class Tiers:
    """The two clusters, the jobs sent to them, and what was otherwise than meant."""

    world: World
    slurm: Hall
    kubernetes: Hall
    meant: dict[str, Hall] = field(default_factory=dict)
    """Where each job is to run, by its id."""
    placements: dict[str, Placement] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    async def let_wait(self, hall: Hall) -> None:
        catalog = self.world.centre.catalog
        now = await catalog.get_offering(hall.offering.id)
        kept = {name: getattr(now, name) for name in OfferingDraft.model_fields}
        await catalog.update_offering(now.id, OfferingDraft(**kept | {"queue_ahead": AHEAD}), now.version)

    async def price(self, cheap: Hall, dear: Hall) -> None:
        """Publish prices for both, and wait until the broker goes by them."""
        lists = {
            hall.offering.id: (await centre.prices(self.world, hall.offering, price)).id
            for hall, price in ((cheap, CHEAP), (dear, DEAR))
        }

        async def known() -> bool:
            found = (await self.world.enterprise.broker.create_quote(self._script("probe"))).candidates
            return {one.offering: one.price_list for one in found if one.has_room} == lists

        await until(known, "the broker to go by the new prices")

    async def cheapest(self, name: str, hall: Hall) -> None:
        """A script that fits both halls, of which this is the cheaper one."""
        await self._placed(self._script(name), hall, "the cheapest of 2 that can run it", {})

    async def pinned(self, name: str, hall: Hall) -> None:
        """A script that asks for this hall alone."""
        asked = self._script(name).model_copy(update={"where": Where(offerings=(hall.offering.id,))})
        other = self.slurm if hall is self.kubernetes else self.kubernetes
        await self._placed(asked, hall, "it alone can run it", {other.offering.id: "where_offerings"})

    async def container(self, name: str) -> None:
        """A container that asks for no hall goes to Kubernetes, whatever Slurm costs. One that asks for Slurm alone is refused."""
        program = Container(image=f"docker://{BUSYBOX}", command=("echo", name))
        asked = self._script(name).model_copy(update={"script": None, "container": program})
        unfit = self.slurm.offering.id
        await self._placed(asked, self.kubernetes, "it alone can run it", {unfit: "container"})
        try:
            only = asked.model_copy(update={"where": Where(offerings=(unfit,))})
            await self.world.enterprise.broker.submit_job(only)
            self.faults.append(f"{name} was accepted where no containers run")
        except NoOfferingFits as problem:
            codes = {reason.code for one in problem.refused if one.offering == unfit for reason in one.reasons}
            if codes != {"container"}:
                self.faults.append(f"{name} was refused for {codes}")

    def _script(self, name: str) -> JobSpec:
        return enterprise.spec(self.world, name, f"echo {name}\n", walltime=60)

    async def _placed(self, asked: JobSpec, hall: Hall, words: str, unfit: Mapping[str, str]) -> None:
        """Submit it: it is to be placed in this hall with these words. `unfit`: offerings that refuse it, and for what."""
        broker = self.world.enterprise.broker
        job = await broker.submit_job(asked)
        placement = (await broker.get_job(job.id)).placement
        if placement is None:
            self.faults.append(f"{asked.name} has no placement")
            return
        self.meant[job.id], self.placements[job.id] = hall, placement
        worst = {one.offering: one.worst_case for one in placement.candidates}
        codes = {one.offering: {reason.code for reason in one.reasons} for one in placement.refused}
        if placement.chosen != hall.offering.id or worst[placement.chosen] != min(worst.values()):
            self.faults.append(f"{asked.name} went to {placement.chosen} of {worst}")
        elif any(codes.get(offering) != {code} for offering, code in unfit.items()):
            self.faults.append(f"{asked.name} was refused for {codes}")
        elif words not in placement.why or not all(f" {one}" in placement.why for one in worst.values()):
            self.faults.append(f"{asked.name} was placed for this reason: {placement.why}")

    async def ran(self, one: Slurm, other: Kubernetes) -> None:
        """Each has ended well, in its hall by that cluster's own books, and nowhere else."""
        for id in self.meant:
            await until(partial(self._final, id), "a job to end", self.world.patience_seconds)
        books = {
            self.slurm.site.id: await asyncio.to_thread(at_slurm, one.cluster),
            self.kubernetes.site.id: await asyncio.to_thread(at_kubernetes, other.cluster, other.tenant["namespace"]),
        }
        broker = self.world.enterprise.broker
        for id, hall in self.meant.items():
            job, attempts = await broker.get_job(id), (await broker.list_job_attempts(id)).items
            found = [
                (site, len(runs)) for site, book in books.items() for one in attempts if (runs := book.get(one.id))
            ]
            if job.state is not JobState.SUCCEEDED or found != [(hall.site.id, 1)]:
                self.faults.append(f"{job.name} ended {job.state} {job.detail}: it ran at {found}")

    async def _final(self, job: str) -> bool:
        return (await self.world.enterprise.broker.get_job(job)).state.final

    async def read_by_people(self) -> int:
        """`caravan jobs show` prints why each kind of job was placed and why it was refused. Returns how many sentences."""
        kinds = {_codes(placement): job for job, placement in self.placements.items()}
        count = 0
        printed = await asyncio.gather(*(asyncio.to_thread(self._shown, job) for job in kinds.values()))
        for job, shown in zip(kinds.values(), printed, strict=True):
            placement = self.placements[job]
            details = [reason.detail for refusal in placement.refused for reason in refusal.reasons]
            missing = [text for text in (placement.why, *details) if BROKEN.sub("", text) not in shown]
            self.faults += [f"caravan jobs show {job} has not: {text}" for text in missing]
            count += 1 + len(details)
        return count

    def _shown(self, job: str) -> str:
        platform, member = self.world.platform, f"org/{self.world.organization.id}:member"
        told = {
            "CARAVAN_URL": platform.url("broker").removesuffix("/broker"),
            "CARAVAN_TOKEN": platform.token(member), "PYTHONIOENCODING": "utf-8",
        }  # fmt: skip
        command = [sys.executable, "-m", "caravan.cli", "jobs", "show", job]
        done = subprocess.run(command, env=os.environ | told, capture_output=True, text=True, encoding="utf-8")
        return BROKEN.sub("", done.stdout)


def _codes(placement: Placement) -> tuple[str, ...]:
    """Of all reasons against offerings."""
    return tuple(reason.code for refusal in placement.refused for reason in refusal.reasons)
