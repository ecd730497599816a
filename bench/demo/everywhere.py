"""All backends at once: a hall of the centre's for each, and a job of the enterprise's in every hall. One statement has them all."""

from collections.abc import Iterable
from decimal import Decimal
from functools import partial
from typing import Final

from bench.demo import centre, scripts
from bench.demo.enterprise import spec
from bench.demo.finance import settled
from bench.demo.telling import WentWrong, clock
from bench.demo.world import Hall, World
from caravan.contracts.jobs import JobState
from caravan.contracts.spec import JobSpec, Where
from caravan.kernel.money import ZERO

CORE_HOUR: Final = {"slurm": Decimal("30.00"), "kubernetes": Decimal("24.00")}


async def opens(world: World) -> None:
    """The centre opens a hall for each further backend, and lets the enterprise in."""
    for stage in world.more_stages:
        hall = await centre.opens_a_hall(world, stage)
        await centre.prices(world, hall.offering, CORE_HOUR[stage.adapter])
        await world.centre.catalog.activate_offering(hall.offering.id)
        await centre.lets_in(world, hall)


def job_in(world: World, hall: Hall, number: int) -> JobSpec:
    """Named after its hall's backend: `slurm-1`."""
    one = spec(world, f"{hall.stage.adapter}-{number}", scripts.short(number), cores=1 + number % 2, walltime=60)
    return one.model_copy(update={"where": Where(offerings=(hall.offering.id,))})


async def computes_in_each_hall(world: World) -> None:
    """The same enterprise, project, budget and hold, whatever runs below."""
    world.teller.chapter("多个机房，一张对账单", "Three backends: a job on each, and one statement for all")
    await opens(world)
    await computes(world, (0,))


async def computes(world: World, numbers: Iterable[int]) -> None:
    """The jobs of these numbers in each hall, at once, until they are charged."""
    teller = world.teller
    asked = [(hall, job_in(world, hall, number)) for number in numbers for hall in world.halls]
    for _, one in asked:
        job = await teller.known(partial(world.enterprise.broker.submit_job, one), f"{one.name} 提交 is submitted")
        world.jobs[one.name] = job.id
    rows = []
    for hall, one in asked:
        ended, hold = await world.ended(one.name, world.patience_seconds), await settled(world, one.name)
        if ended.state is not JobState.SUCCEEDED or hold.captured == ZERO:
            raise WentWrong(f"{one.name} ended {ended.state}, charged {hold.captured}: {ended.detail}")
        span = f"{clock(ended.started_at)} – {clock(ended.ended_at)}"
        rows.append((one.name, hall.site.name, hall.stage.adapter, span, str(hold.amount), str(hold.captured)))
    teller.table(
        ("!作业 job", "!机房 hall", "!后端 backend", "!运行 ran", ">冻结 held", ">计费 billed"),
        rows,
    )
