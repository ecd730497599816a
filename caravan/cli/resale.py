"""`caravan resale …`: agreements by which organizations sell to their members, and the prices of those who do."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from caravan.cli import show
from caravan.cli.asking import AsJson, Cursor, Limit, ask, misused, model_of, print_one, print_page, wrong_input
from caravan.contracts.prices import PriceListDraft
from caravan.contracts.resale import ResaleAgreementDraft, ResaleEnd

group = typer.Typer(no_args_is_help=True, help="An organization sells to its members at prices of its own: 转售.")
Offering = Annotated[str, typer.Argument(metavar="OFFERING", help="Its id, off_….")]


@group.command()
def agree(
    ctx: typer.Context,
    reseller: Annotated[str, typer.Option(help="Who sells, org_….")],
    project: Annotated[str, typer.Option(help="Its project that buys, prj_….")],
    member: Annotated[list[str], typer.Option(help="Who buys from it, org_…. Repeat for more.")],
    starts_at: Annotated[str, typer.Option("--from", help="A whole hour: 2026-04-01T00:00:00+08:00.")],
    ends_at: Annotated[str | None, typer.Option("--until", help="A whole hour; without one until it is ended.")] = None,
    as_json: AsJson = False,
) -> None:
    """Let an organization sell to its members what it has prices for. For the platform's administrator."""
    values = {
        "reseller": reseller,
        "project": project,
        "members": member,
        "starts_at": starts_at,
        "ends_at": ends_at,
    }
    try:
        draft = ResaleAgreementDraft.model_validate(values)
    except ValidationError as error:
        wrong_input(error)
    found = ask(ctx, lambda peers: peers.catalog.create_resale_agreement(draft), as_json=as_json)
    print_one(found, lambda one: show.resale_agreements([one]), as_json=as_json)


@group.command()
def end(
    ctx: typer.Context,
    agreement: Annotated[str, typer.Argument(metavar="AGREEMENT", help="Its id, rsl_….")],
    ends_at: Annotated[
        str,
        typer.Argument(
            metavar="AT", help="A whole hour to come: 2027-01-01T00:00:00+08:00. Its start: it is cancelled."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Say when an agreement ends. Jobs that were submitted before keep their reseller."""
    try:
        wanted = ResaleEnd.model_validate({"ends_at": ends_at})
    except ValidationError as error:
        wrong_input(error)
    found = ask(ctx, lambda peers: peers.catalog.end_resale_agreement(agreement, wanted), as_json=as_json)
    print_one(found, lambda one: show.resale_agreements([one]), as_json=as_json)


@group.command("list")
def agreements(ctx: typer.Context, limit: Limit = 50, cursor: Cursor = None, as_json: AsJson = False) -> None:
    """List the agreements that your organizations are in; all to the platform."""
    page = ask(ctx, lambda peers: peers.catalog.list_resale_agreements(limit=limit, cursor=cursor), as_json=as_json)
    print_page(page, show.resale_agreements, "No agreements: providers sell directly.", as_json=as_json)


@group.command()
def publish(
    ctx: typer.Context,
    offering: Offering,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The price list with its `reseller`, JSON; - for stdin.")
    ],
    as_json: AsJson = False,
) -> None:
    """Publish the next revision of your organization's prices of an offering, for its members."""
    draft = model_of(PriceListDraft, file)
    if draft.reseller is None:  # it would be the centre's own, by who may publish both
        misused("reseller: give the organization whose prices these are, org_…")
    found = ask(ctx, lambda peers: peers.catalog.publish_price_list(offering, draft), as_json=as_json)
    print_one(found, lambda one: show.price_lists([one]), as_json=as_json)


@group.command()
def prices(
    ctx: typer.Context,
    offering: Offering,
    reseller: Annotated[str | None, typer.Option(help="By this one alone, org_….")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List the price lists of an offering that you may see, the newest first."""
    page = ask(
        ctx,
        lambda peers: peers.catalog.list_price_lists(offering, reseller=reseller, limit=limit, cursor=cursor),
        as_json=as_json,
    )
    print_page(page, show.price_lists, "No price lists.", as_json=as_json)


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="resale")
