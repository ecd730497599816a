"""`caravan offerings`, `price` and `quote`: what is on sale at what price, and what a job would cost where."""

from functools import partial
from typing import Annotated

import typer
from pydantic import ValidationError

from caravan.cli import show, spec
from caravan.cli.asking import AsJson, Cursor, Limit, ask, misused, print_one, print_page, wrong_input
from caravan.client import Peers
from caravan.contracts.explanations import PriceQuestion
from caravan.contracts.offerings import OfferingPrice, OfferingState, Tier
from caravan.kernel import clock
from caravan.kernel.money import Money
from caravan.kernel.pages import Page


def offerings(
    ctx: typer.Context,
    text: Annotated[str | None, typer.Argument(help="Words to look for, in any language.")] = None,
    tier: Annotated[list[Tier] | None, typer.Option(help="Repeat for more.")] = None,
    accelerator: Annotated[str | None, typer.Option(help="Its kind, acc_….")] = None,
    region: Annotated[str | None, typer.Option()] = None,
    provider: Annotated[str | None, typer.Option()] = None,
    site: Annotated[str | None, typer.Option()] = None,
    state: Annotated[OfferingState | None, typer.Option(help="For providers: their own in this state.")] = None,
    organization: Annotated[str | None, typer.Option(help="Whose prices, org_…: for who is in several.")] = None,
    cpus: Annotated[int | None, typer.Option("--cpus", "-c", help="Price this many cores …")] = None,
    memory: Annotated[str | None, typer.Option("--memory", "-m", help="… and this much memory …")] = None,
    accelerators: Annotated[int | None, typer.Option(help="… and so many accelerators …")] = None,
    hours: Annotated[int | None, typer.Option(help="… for so many hours; the cheapest comes first.")] = None,
    max_price: Annotated[str | None, typer.Option(help="Not dearer than this, 12.00.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """Search what is on sale."""
    try:
        most = Money.parse(max_price) if max_price is not None else None
    except ValueError as error:
        misused(str(error))

    async def search(peers: Peers) -> Page[OfferingPrice]:
        return await peers.catalog.search_offerings(
            text=text,
            tier=tier or None,
            accelerator=accelerator,
            region=region,
            provider=provider,
            site=site,
            state=state,
            organization=organization,
            cpus=cpus,
            memory_mib=spec.memory_mib(memory) if memory is not None else None,
            accelerators=accelerators,
            hours=hours,
            max_price=most,
            limit=limit,
            cursor=cursor,
        )

    page = ask(ctx, search, as_json=as_json)
    print_page(
        page,
        lambda items: show.offerings(items, clock.now()),
        "Nothing is on sale that fits this search.",
        as_json=as_json,
    )


def price(
    ctx: typer.Context,
    offering: Annotated[str, typer.Argument(metavar="OFFERING", help="Its id, off_….")],
    start: Annotated[str, typer.Option(help="As RFC 3339, with its offset: 2026-10-01T20:00:00+08:00.")],
    walltime: Annotated[str, typer.Option("--walltime", "-t", help="How long: 90s, 15m, 2h30m, 3d.")],
    cpus: Annotated[int, typer.Option("--cpus", "-c", help="Over all nodes.")] = 1,
    memory: Annotated[str, typer.Option("--memory", "-m", help="Over all nodes.")] = "0",
    accelerators: Annotated[int, typer.Option(help="Over all nodes.")] = 0,
    nodes: Annotated[int, typer.Option("--nodes", "-N")] = 1,
    organization: Annotated[str | None, typer.Option(help="Whose prices, org_…: for who is in several.")] = None,
    option: spec.Options = None,
    as_json: AsJson = False,
) -> None:
    """Explain what a run would cost by an offering's newest price list, day by day. Nothing is started."""
    shape = {"nodes": nodes, "cpus": cpus, "memory_mib": spec.memory_mib(memory), "accelerators": accelerators}
    question = {
        "offering": offering,
        "organization": organization,
        "options": spec.pairs(option, "--option name=value"),
        "shape": shape,
        "start": start,
        "seconds": spec.seconds(walltime),
    }
    try:
        asked = PriceQuestion.model_validate(question)
    except ValidationError as error:
        wrong_input(error)
    found = ask(ctx, lambda peers: peers.catalog.explain_price(asked), as_json=as_json)
    print_one(found, show.price_explanation, as_json=as_json)


def quote(
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
    as_json: AsJson = False,
) -> None:
    """Ask where a job could run, what would be set aside for it, and why not elsewhere. Nothing is started.

    What it would run doesn't matter for that: without a script or a command it is `true`.
    A script's #SBATCH lines count as for submit.
    """
    command, script = spec.script_or_command(ctx, command, script)
    unwritten = script is None and image is None and spec_file is None and not command
    asked = spec.Wanted(
        command=["true"] if unwritten else command,
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
    found = ask(ctx, lambda peers: peers.broker.create_quote(asked), as_json=as_json)
    print_one(found, show.quote, as_json=as_json)


def add_to(app: typer.Typer) -> None:
    app.command()(offerings)
    app.command()(price)
    app.command(cls=spec.ScriptOrCommand)(quote)
