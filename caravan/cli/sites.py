"""`caravan site …`: from which hour on a site's time is billed, for the platform's administrators and those who look."""

from typing import Annotated

import typer
from pydantic import ValidationError

from caravan.cli import show
from caravan.cli.asking import AsJson, Cursor, Limit, ask, print_one, print_page, wrong_input
from caravan.contracts.modes import SiteMode, SiteModeDraft

group = typer.Typer(no_args_is_help=True, help="Whether a site bills: set it from an hour on, and list it.")
SiteArgument = Annotated[str, typer.Argument(metavar="SITE", help="Its id, sit_….")]


@group.command()
def mode(
    ctx: typer.Context,
    site: SiteArgument,
    wanted: Annotated[SiteMode, typer.Argument(metavar="MODE", help="billed, notional (priced only) or tracked.")],
    starts_at: Annotated[
        str | None, typer.Option("--from", help="A whole hour to come: 2026-06-16T00:00:00+08:00. Else the next.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set how a site's time is billed from an hour on. Jobs that were placed before keep the modes of then."""
    try:
        draft = SiteModeDraft.model_validate({"mode": wanted, "starts_at": starts_at})
    except ValidationError as error:
        wrong_input(error)
    found = ask(ctx, lambda peers: peers.catalog.publish_site_mode(site, draft), as_json=as_json)
    print_one(found, lambda one: show.modes([one]), as_json=as_json)


@group.command()
def modes(
    ctx: typer.Context, site: SiteArgument, limit: Limit = 50, cursor: Cursor = None, as_json: AsJson = False
) -> None:
    """List the modes that a site had and is to have, the last one first."""
    page = ask(ctx, lambda peers: peers.catalog.list_site_modes(site, limit=limit, cursor=cursor), as_json=as_json)
    print_page(page, show.modes, "No modes: all its time is billed.", as_json=as_json)


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="site")
