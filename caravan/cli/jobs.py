"""`caravan submit` and `caravan jobs …`: send a job, watch it, read its output, stop it."""

from functools import partial
from typing import Annotated, Final, Literal, NoReturn

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from caravan.cli import show, spec
from caravan.cli.asking import NOT_SUCCEEDED, AsJson, Cursor, Key, Limit, ask, console, print_one, print_page
from caravan.cli.waiting import until
from caravan.client import BrokerClient, Peers
from caravan.contracts.jobs import ArrayTask, Attempt, Job, JobDetail, JobEvent, JobState, LogChunk
from caravan.kernel.pages import Page

SHOWN: Final = 50
"""Tasks and events that `jobs show` lists; `--json` and the API have all."""
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Its id, job_….")]
Stream = Annotated[Literal["stdout", "stderr"], typer.Option("--stream")]

group = typer.Typer(no_args_is_help=True, help="Look at jobs, read their output, wait for them, stop them.")


def submit(
    ctx: typer.Context,
    command: spec.Command = None,
    spec_file: spec.SpecFile = None,
    name: spec.Name = None,
    project: spec.Project = None,
    script: spec.Script = None,
    image: spec.Image = None,
    cpus: spec.Cpus = None,
    tasks_per_node: spec.Tasks = None,
    nodes: spec.Nodes = None,
    memory: spec.Memory = None,
    walltime: spec.Walltime = None,
    accelerators: spec.Accelerators = None,
    accelerator: spec.Accelerator = None,
    array: spec.ArrayText = None,
    env: spec.Env = None,
    option: spec.Options = None,
    label: spec.Labels = None,
    tier: spec.Tiers = None,
    offering: spec.Offerings = None,
    provider: spec.Providers = None,
    region: spec.Regions = None,
    max_cost: spec.MaxCost = None,
    max_attempts: spec.MaxAttempts = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Stay until it has ended.")] = False,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Submit a job: `caravan submit -p prj_… -c 2 -t 15m -- python3 pi.py`. Without -t it may take an hour.

    A batch script is sent as it is: `caravan submit job.sh`. Its #SBATCH lines
    count as for sbatch: name, nodes, tasks, cores, memory, gres and gpus, time,
    array, export. Options given here win. What can't be honoured is said: as a
    warning where the job computes the same without it, else as an error.

    A container: `caravan submit --image docker://python:3.13 -- python3 -V`.
    Without a command it runs what the image names.
    """
    command, script = spec.script_or_command(ctx, command, script)
    asked = spec.Wanted(
        command=command,
        spec=spec_file,
        name=name,
        project=project,
        script=script,
        image=image,
        cpus=cpus,
        tasks_per_node=tasks_per_node,
        nodes=nodes,
        memory=memory,
        walltime=walltime,
        accelerators=accelerators,
        accelerator=accelerator,
        array=array,
        env=env,
        options=option,
        labels=label,
        tiers=tier,
        offerings=offering,
        providers=provider,
        regions=region,
        max_cost=max_cost,
        max_attempts=max_attempts,
    ).job_spec(partial(spec.kinds, ctx, as_json=as_json))

    async def send(peers: Peers) -> Job:
        job = await peers.broker.submit_job(asked, key)
        if wait and not as_json:
            console(stderr=True).print(f"submitted {job.id}", highlight=False)
        return await _until_ended(peers.broker, job) if wait else job

    _outcome(ask(ctx, send, as_json=as_json), waited=wait, as_json=as_json)


@group.command("list")
def list_jobs(
    ctx: typer.Context,
    project: spec.Project = None,
    state: Annotated[JobState | None, typer.Option()] = None,
    label: Annotated[str | None, typer.Option(help="name=value")] = None,
    name: Annotated[str | None, typer.Option()] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, the newest first."""

    async def find(peers: Peers) -> Page[Job]:
        return await peers.broker.list_jobs(
            project=project, state=state, label=label, name=name, limit=limit, cursor=cursor
        )

    page = ask(ctx, find, as_json=as_json)
    print_page(page, show.jobs, "No jobs.", as_json=as_json)


@group.command("show")
def show_job(ctx: typer.Context, job: JobArgument, as_json: AsJson = False) -> None:
    """Show a job with its tasks, attempts and events."""

    async def read(peers: Peers) -> tuple[JobDetail, list[ArrayTask], list[Attempt], list[JobEvent]]:
        found = await peers.broker.get_job(job)
        if as_json:
            return found, [], [], []
        tasks = await peers.broker.list_job_tasks(job, limit=SHOWN)
        attempts = await peers.broker.list_job_attempts(job, limit=SHOWN)
        events = await peers.broker.list_job_events(job, limit=SHOWN)
        return found, tasks.items, attempts.items, events.items

    found, tasks, attempts, events = ask(ctx, read, as_json=as_json)
    print_one(found, lambda one: show.job_detail(one, tasks, attempts, events), as_json=as_json)


@group.command()
def cancel(ctx: typer.Context, job: JobArgument, as_json: AsJson = False) -> None:
    """Stop a job. What it used is charged."""
    _outcome(ask(ctx, lambda peers: peers.broker.cancel_job(job), as_json=as_json), waited=False, as_json=as_json)


@group.command()
def wait(ctx: typer.Context, job: JobArgument, as_json: AsJson = False) -> None:
    """Stay until a job has ended. The exit code is 0 when it succeeded, 3 when not."""

    async def stay(peers: Peers) -> JobDetail:
        return await _until_ended(peers.broker, await peers.broker.get_job(job))

    _outcome(ask(ctx, stay, as_json=as_json), waited=True, as_json=as_json)


@group.command()
def logs(
    ctx: typer.Context,
    job: JobArgument,
    index: Annotated[int | None, typer.Option(help="Of the array; its first task if not given.")] = None,
    stream: Stream = "stdout",
    offset: Annotated[int | None, typer.Option(min=0, help="Start at this byte.")] = None,
    tail: Annotated[
        int | None, typer.Option(min=0, help="Only the last so many bytes; 0 with --follow: only what is new.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the task has ended.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print what a task's last run has written. With --json each piece is a line of JSON.

    A task that is tried again is followed from one try to the next.
    """

    def write(chunk: LogChunk) -> None:
        if as_json:
            typer.echo(chunk.model_dump_json())
        else:
            typer.echo(chunk.text, nl=False)

    async def read(peers: Peers) -> None:
        async for chunk in peers.broker.job_log(
            job, index=index, stream=stream, offset=offset, tail=tail, follow=follow
        ):
            write(chunk)

    ask(ctx, read, as_json=as_json)


async def _until_ended(broker: BrokerClient, job: Job) -> JobDetail:
    """Poll until the job has ended, with a bar on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        bar = progress.add_task(job.name, total=sum(job.counts.values()) or 1)

        def tell(found: JobDetail | None) -> None:
            if found is None:
                progress.update(bar, description=f"{job.name}: nothing answers, asking again")
                return
            ended = sum(count for state, count in found.counts.items() if state.final)
            words = f"{found.name} {found.state.value}" + (f" ({found.reason})" if found.reason else "")
            progress.update(bar, completed=ended, description=words)

        return await until(lambda: broker.get_job(job.id), lambda found: found.state.final, tell)


def _outcome(job: Job, *, waited: bool, as_json: bool) -> None:
    print_one(job, show.job, as_json=as_json)
    if waited and job.state is not JobState.SUCCEEDED:
        _end(NOT_SUCCEEDED)


def _end(code: int) -> NoReturn:
    raise typer.Exit(code)


def add_to(app: typer.Typer) -> None:
    app.command(cls=spec.ScriptOrCommand)(submit)
    app.add_typer(group, name="jobs")
