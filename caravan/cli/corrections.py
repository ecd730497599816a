"""`caravan finance correction …`: propose, preview, approve and reject price corrections."""

from collections.abc import Iterable
from typing import Annotated, Final

import typer
from pydantic import ValidationError
from rich.console import Group, RenderableType
from rich.table import Table

from caravan.cli.asking import AsJson, Cursor, Key, Limit, ask, console, print_one, print_page, wrong_input
from caravan.cli.show import both, pairs, table, when
from caravan.cli.waiting import until
from caravan.client import Peers
from caravan.contracts.corrections import Correction, CorrectionDetail, CorrectionDraft, CorrectionState

group = typer.Typer(no_args_is_help=True, help="Replace a wrong price list by the right one for a span of time.")
CorrectionArgument = Annotated[str, typer.Argument(metavar="CORRECTION", help="Its id, cor_….")]
Wait = Annotated[bool, typer.Option(help="Stay until it is done; the platform goes on when nobody stays.")]
WORKING: Final = (CorrectionState.PREVIEWING, CorrectionState.APPLYING)


@group.command()
def propose(
    ctx: typer.Context,
    offering: Annotated[str, typer.Option(help="Whose prices were wrong, off_….")],
    starts_at: Annotated[str, typer.Option("--from", help="A whole second as RFC 3339, with its offset.")],
    ends_at: Annotated[str, typer.Option("--to", help="The first second after the span; it may lie ahead.")],
    price_list: Annotated[str, typer.Option(help="The right one, prl_…: publish it first, as any other.")],
    reason: Annotated[str, typer.Option(help="Why; those whom it concerns read it.")],
    replaces: Annotated[
        list[str] | None,
        typer.Option(help="A wrong one that jobs were placed by, prl_…; again for each. Without: all."),
    ] = None,
    wait: Wait = True,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Propose a correction, and show who pays how much more or less by it. Another person approves."""
    fields = {
        "offering": offering,
        "starts_at": starts_at,
        "ends_at": ends_at,
        "price_list": price_list,
        "replaces": tuple(replaces) if replaces else "all",
        "reason": reason,
    }
    try:
        draft = CorrectionDraft.model_validate(fields)
    except ValidationError as error:
        wrong_input(error)

    async def start(peers: Peers) -> CorrectionDetail:
        made = await peers.accounting.propose_price_correction(draft, key)
        return await _done(peers, made.id) if wait else made

    print_one(ask(ctx, start, as_json=as_json), detail, as_json=as_json)


@group.command("list")
def list_corrections(
    ctx: typer.Context,
    offering: Annotated[str | None, typer.Option(help="Of one offering, off_….")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List corrections, the newest first."""
    page = ask(
        ctx,
        lambda peers: peers.accounting.list_price_corrections(offering=offering, limit=limit, cursor=cursor),
        as_json=as_json,
    )
    print_page(page, listed, "No corrections.", as_json=as_json)


@group.command()
def show(ctx: typer.Context, correction: CorrectionArgument, as_json: AsJson = False) -> None:
    """Show a correction with its preview."""
    found = ask(ctx, lambda peers: peers.accounting.get_price_correction(correction), as_json=as_json)
    print_one(found, detail, as_json=as_json)


@group.command()
def approve(ctx: typer.Context, correction: CorrectionArgument, wait: Wait = True, as_json: AsJson = False) -> None:
    """Approve what another person has proposed: jobs are charged anew by it."""

    async def start(peers: Peers) -> CorrectionDetail:
        approved = await peers.accounting.approve_price_correction(correction)
        return await _done(peers, correction) if wait else approved

    print_one(ask(ctx, start, as_json=as_json), detail, as_json=as_json)


@group.command()
def reject(ctx: typer.Context, correction: CorrectionArgument, as_json: AsJson = False) -> None:
    """Drop a proposal."""
    found = ask(ctx, lambda peers: peers.accounting.reject_price_correction(correction), as_json=as_json)
    print_one(found, detail, as_json=as_json)


async def _done(peers: Peers, correction: str) -> CorrectionDetail:
    """Poll until its preview is complete, or it is applied; how far it is is said whenever that changes."""
    err, said = console(stderr=True), ""

    def tell(found: CorrectionDetail | None) -> None:
        nonlocal said
        words = "Nothing answers, asking again" if found is None else how_far(found)
        if words and words != said:
            err.print(words)
        said = words

    return await until(
        lambda: peers.accounting.get_price_correction(correction), lambda found: found.state not in WORKING, tell
    )


def how_far(found: Correction) -> str:
    """Through how many jobs the work on it has been, or nothing."""
    if found.progress is None or found.state not in WORKING:
        return ""
    if found.state is CorrectionState.PREVIEWING:
        return f"previewing: {found.progress.previewed_jobs} jobs"
    return f"applying: {found.progress.applied_jobs} of {found.progress.previewed_jobs} jobs"


def listed(found: Iterable[Correction]) -> Table:
    rows = [
        (one.state.value, when(one.starts_at), when(one.ends_at), one.offering, one.price_list, one.id) for one in found
    ]
    return table(("state", "!from", "!until", "!offering", "!right list", "!id"), rows)


def detail(found: CorrectionDetail) -> RenderableType:
    """The correction, and a row for each organization with what it pays more or less."""
    preview = found.preview
    rows = [
        ("correction", found.id),
        ("state", found.state.value),
        ("offering", found.offering),
        ("from", when(found.starts_at)),
        ("until", when(found.ends_at)),
        ("right list", found.price_list),
        ("instead of", found.replaces if found.replaces == "all" else ", ".join(found.replaces)),
        ("reason", found.reason),
        ("proposed", f"{when(found.proposed_at)} by {found.proposed_by}"),
        ("decided", f"{when(found.decided_at)} by {found.decided_by}" if found.decided_by else ""),
        ("pay more", f"{preview.paying_more}, {preview.more} in all"),
        ("pay less", f"{preview.paying_less}, {preview.less} in all"),
        *(("volume discounts", both(one.words)) for one in found.volume_discounts),
    ]
    shares = [
        (one.organization, str(one.jobs), str(one.lines), str(one.before), str(one.after), str(one.difference))
        for one in preview.organizations
    ]
    total = ("sum", str(preview.jobs), str(preview.lines), str(preview.before), str(preview.after))
    columns = ("!organization", ">jobs", ">lines", ">before", ">after", ">difference")
    return Group(
        pairs((name, value) for name, value in rows if value),
        table(columns, [*shares, (*total, str(preview.difference))]),
    )
