"""The second audience: an enterprise that computes."""

from datetime import timedelta
from typing import Final, Literal

from bench.demo import centre, scripts
from bench.demo.telling import WentWrong, clock, cores, no, short, yes
from bench.demo.world import World
from caravan.client import ServiceUnavailable
from caravan.contracts.funds import BudgetDraft, DepositDraft
from caravan.contracts.jobs import ArrayTask, JobState, LogChunk
from caravan.contracts.parties import OrganizationDraft, ProjectDraft
from caravan.contracts.problems import BudgetExceeded, LogUnavailable, NoLogYet, UnknownReference
from caravan.contracts.quotes import Quote
from caravan.contracts.spec import Array, JobSpec, Resources
from caravan.kernel import clock as time
from caravan.kernel.money import Money

DEPOSIT: Final = Money.parse("100.00")
BUDGET: Final = Money.parse("20.00")
MONTE_CARLO, ARRAY, FAILING, ENDLESS = "monte-carlo", "samples", "bad-mesh", "endless"


def spec(world: World, name: str, script: str, *, cores: int = 1, walltime: int, array: Array | None = None) -> JobSpec:
    resources = Resources(cpus_per_task=cores, memory_mib_per_node=256, walltime_seconds=walltime)
    return JobSpec(name=name, project=world.project.id, script=script, resources=resources, array=array)


async def opens_a_project(world: World) -> None:
    """The operator registers the enterprise, which opens a project with a budget; finance records its deposit."""
    teller = world.teller
    teller.chapter("企业开户", "An enterprise opens a project with a budget; finance records a deposit")
    world.organization = await world.operator.catalog.create_organization(
        OrganizationDraft(name="秦岭气动 Qinling Aero", credit_code=centre.code("91610131MA6QL0002"))
    )
    organization = world.organization.id
    world.enterprise = await world.person("li@qinling.example", f"org/{organization}:admin")
    world.project = await world.enterprise.catalog.create_project(
        ProjectDraft(organization=organization, name="机翼优化 Wing optimisation")
    )
    await centre.lets_in(world, world.halls[0])
    budget = BudgetDraft(
        organization=organization,
        project=world.project.id,
        name="本季算力 Compute this quarter",
        limit=BUDGET,
        starts_at=time.floor_hour(time.now()),
    )
    opened = await teller.known(lambda: world.enterprise.accounting.create_budget(budget), "预算 budget")
    paid = DepositDraft(organization=organization, amount=DEPOSIT, reference="BANK-2026-0001")
    deposit = await teller.known(lambda: world.finance.accounting.record_deposit(paid), "充值 deposit")
    funds = await world.enterprise.accounting.get_funds(organization)
    teller.table(
        ("企业 organization", "项目 project", "预算 budget", ">额度 limit", ">充值 deposited", ">可用 available"),
        [
            (
                world.organization.name,
                world.project.name,
                opened.name,
                str(opened.limit),
                str(deposit.amount),
                str(funds.available),
            )
        ],
    )


def monte_carlo(world: World) -> JobSpec:
    return spec(world, MONTE_CARLO, scripts.MONTE_CARLO, cores=2, walltime=60)


async def asks_for_a_quote(world: World) -> None:
    """One offering fits, the other is refused, with the reason."""
    teller = world.teller
    teller.chapter("询价", "A quote: where could it run, what is set aside, and why not elsewhere")
    asked = monte_carlo(world)

    async def ask() -> Quote | None:
        try:
            quote = await world.enterprise.broker.create_quote(asked)
        except UnknownReference:
            return None
        return quote if quote.candidates and quote.refused else None

    quote = await teller.until(ask, "报价 quote")
    teller.say(
        f"Where could [bold]{asked.name}[/] run: {cores(asked.resources.cpus_per_node)}, "
        f"{asked.resources.memory_mib_per_node} MiB, at most {asked.resources.walltime_seconds} s?"
    )
    rows = [
        (
            yes(one.offering_name),
            "\n".join(
                f"{part.quantity} 核秒 core-seconds x {part.unit_price} / 3600 = {part.amount}"
                for part in one.components
            ),
            str(one.worst_case),
        )
        for one in quote.candidates
    ]
    rows += [(no(one.offering_name), "\n".join(reason.detail for reason in one.reasons), "") for one in quote.refused]
    teller.table(("产品 offering", "最坏情形，或拒绝原因 worst case, or why not", ">冻结 set aside"), rows)
    count, walltime = asked.resources.cpus_per_node, asked.resources.walltime_seconds
    grace = quote.candidates[0].components[0].quantity // count - walltime
    teller.say(
        f"The worst case has {grace} s {world.stage.grace} in it: "
        f"{cores(count)} x ({walltime} + {grace}) s = {count * (walltime + grace)} core-seconds."
    )


async def asks_too_much(world: World) -> None:
    """A 402 that says which limit is short, and what would fit."""
    teller = world.teller
    teller.chapter("超出预算", "402: which limit is short, what is held, what was asked, and what would fit")
    asked = spec(world, "too-long", scripts.ENDLESS, cores=2, walltime=3600)

    async def refused() -> BudgetExceeded:
        try:
            await world.enterprise.broker.submit_job(asked)
        except BudgetExceeded as problem:
            return problem
        raise WentWrong("a job dearer than the budget was accepted")

    problem = await teller.known(refused, "提交 submit")
    teller.say(
        f"The same for an hour: [bold red]HTTP {problem.status}[/] {problem.title_zh} {problem.title} ({problem.code}). "
        "Nothing was started."
    )
    fits = problem.walltime_seconds_that_fits
    teller.table(
        (
            "不足的额度 the limit that is short",
            ">额度 limit",
            ">已冻结 held",
            ">所需 asked",
            ">可行 would fit",
            ">即最长 so at most",
        ),
        [
            (
                problem.budget_name,
                str(problem.limit),
                str(problem.held),
                str(problem.asked),
                str(problem.fits),
                f"{fits:,} s" if fits is not None else "",
            )
        ],
    )


async def computes_through_a_crash(world: World) -> None:
    """A real computation outlives kill -9 of the platform, and reaches its own end."""
    teller = world.teller
    teller.chapter("运行与断电", "A job runs; kill -9 of the platform; restart; the same process; its true end")
    edge = await centre.announces_a_price_change(world)

    async def priced() -> bool | None:
        quote = await world.enterprise.broker.create_quote(monte_carlo(world))
        return True if any(one.price_list_revision == 2 for one in quote.candidates) else None

    await teller.until(priced, "the broker has the new prices")
    job = await world.enterprise.broker.submit_job(monte_carlo(world))
    world.jobs[MONTE_CARLO] = job.id
    await world.running(MONTE_CARLO)
    before, log_before = await _task(world, MONTE_CARLO), await _log(world, MONTE_CARLO)
    teller.say(
        f"[bold]{MONTE_CARLO}[/] ({short(job.id)}) runs since {clock(before.started_at)}: it estimates π in 2 processes."
    )
    killed = world.pids()
    world.platform.kill()
    try:
        await world.enterprise.broker.get_job(job.id)
        raise WentWrong("the platform was killed and still answers")
    except ServiceUnavailable:
        alive = _alive(world, before)
    if not alive:
        raise WentWrong(f"{_run(world, before)} died with the platform")
    teller.say(
        f"[bold red]kill -9[/] of the platform ({killed}): it answers no more. "
        f"[green]{_run(world, before)} still runs.[/]"
    )
    seconds = await world.start()
    after = await _task(world, MONTE_CARLO)
    meanwhile = "is at work as before" if _alive(world, after) else "has ended meanwhile"
    teller.say(f"Started again, ready after {seconds:.1f} s. {_run(world, after)} {meanwhile}:")
    teller.table(
        ("!", "平台进程 platform", "!作业 the job", "!后端身份 its identity at the site", "!状态 state"),
        [
            ("之前 before", killed, _run(world, before), _identity(before), before.state.value),
            ("之后 after", world.pids(), _run(world, after), _identity(after), after.state.value),
        ],
    )
    if before.backend_identity != after.backend_identity:
        raise WentWrong("after the restart it is another run")
    await submits_the_others(world)
    ended = await world.ended(MONTE_CARLO)
    task, log = await _task(world, MONTE_CARLO), await _log(world, MONTE_CARLO)
    if ended.state is not JobState.SUCCEEDED or not log.startswith(log_before):
        raise WentWrong(f"{MONTE_CARLO} ended {ended.state}: {log}")
    lines = log.splitlines()
    teller.say(
        f"Its true end: [green]{ended.state.value}[/], exit code {task.exit_code}, it ran {clock(task.started_at)} – "
        f"{clock(task.ended_at)}; the price changed at {clock(edge)}. Its output:"
    )
    for line in (lines[0], f"… {len(lines) - 2} lines, one a second, none missing …", lines[-1]):
        teller.say(f"    [dim]{line}[/]")


async def submits_the_others(world: World) -> None:
    """An array of 4, one that exits 3, one that will be cancelled: beside the big one."""
    wanted = (
        spec(world, ARRAY, scripts.ARRAY, walltime=20, array=Array(indices=(0, 1, 2, 3), max_parallel=2)),
        spec(world, FAILING, scripts.FAILING, walltime=20),
        spec(world, ENDLESS, scripts.ENDLESS, walltime=30),
    )
    for one in wanted:
        only = one.model_copy(update={"where": one.where.model_copy(update={"offerings": (world.offering.id,)})})
        world.jobs[one.name] = (await world.enterprise.broker.submit_job(only)).id


async def sees_the_others_end(world: World) -> None:
    """How the array, the failing and the cancelled job ended."""
    teller = world.teller
    teller.chapter("数组、失败与取消", "An array of 4, one that exits 3, one that is cancelled")
    teller.say("Sent while the first one ran. The array runs two at a time; the last job would never end by itself.")
    await world.running(ENDLESS)

    async def used_something() -> bool | None:
        started = (await _task(world, ENDLESS)).started_at
        return True if started is not None and time.now() - started > timedelta(seconds=3) else None

    await teller.until(used_something, f"{ENDLESS} computes")
    await world.enterprise.broker.cancel_job(world.jobs[ENDLESS])
    rows = []
    expected = {ARRAY: JobState.SUCCEEDED, FAILING: JobState.FAILED, ENDLESS: JobState.CANCELLED}
    for name, state in expected.items():
        job = await world.ended(name)
        if job.state is not state:
            raise WentWrong(f"{name} ended {job.state}, not {state}: {job.detail}")
        for task in (await world.enterprise.broker.list_job_tasks(job.id)).items:
            rows.append(
                (
                    name if task.index == 0 else "",
                    str(task.index),
                    task.state.value,
                    task.outcome.value if task.outcome else "",
                    "" if task.exit_code is None else str(task.exit_code),
                    clock(task.started_at),
                    clock(task.ended_at),
                )
            )
    teller.table(
        ("作业 job", ">序号 index", "状态 state", "结局 outcome", ">退出码 exit", "!开始 started", "!结束 ended"), rows
    )
    said = (await _log(world, FAILING, world.stage.errors)).splitlines()
    if not said or "no volume" not in said[-1]:
        raise WentWrong(f"{FAILING} said {said}")
    teller.say(f"The last words of {FAILING}: [dim]{said[-1]}[/]")


async def _task(world: World, name: str) -> ArrayTask:
    """The first task, once it has a run."""

    async def look() -> ArrayTask | None:
        task = (await world.enterprise.broker.list_job_tasks(world.jobs[name])).items[0]
        return task if task.backend_identity else None

    return await world.teller.until(look, f"{name} 的任务 its task")


async def _log(world: World, name: str, stream: Literal["stdout", "stderr"] = "stdout") -> str:
    async def look() -> LogChunk | None:
        try:
            return await world.enterprise.broker.read_job_log(world.jobs[name], stream=stream)
        except (LogUnavailable, NoLogYet):
            return None

    return (await world.teller.until(look, f"{name} 的输出 its output")).text


def _identity(task: ArrayTask) -> str:
    """Its head and its end, where it is long."""
    identity = task.backend_identity or ""
    return identity if len(identity) < 30 else f"{identity[:14]}…{identity[-14:]}"


def _run(world: World, task: ArrayTask) -> str:
    return world.stage.named(task.backend_identity or "")


def _alive(world: World, task: ArrayTask) -> bool:
    return world.stage.alive(task.backend_identity or "")
