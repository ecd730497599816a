"""`caravan finance anomalies` and `settle`: usage that was set aside, and what becomes of it. `silences`: sites that state none."""

from typing import Annotated

import typer
from pydantic import ValidationError

from caravan.cli import show
from caravan.cli.asking import AsJson, Cursor, Limit, ask, print_one, print_page, wrong_input
from caravan.contracts.anomalies import AnomalyDecision, AnomalyReason, AnomalyState, Decision


def list_anomalies(
    ctx: typer.Context,
    state: Annotated[AnomalyState, typer.Option()] = AnomalyState.OPEN,
    reason: Annotated[AnomalyReason | None, typer.Option()] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List usage that was set aside, the last found first: those that wait to be settled, or of another state."""
    page = ask(
        ctx,
        lambda peers: peers.accounting.list_anomalies(state=state, reason=reason, limit=limit, cursor=cursor),
        as_json=as_json,
    )
    print_page(page, show.anomalies, "No anomalies.", as_json=as_json)


def settle(
    ctx: typer.Context,
    anomaly: Annotated[str, typer.Argument(metavar="ANOMALY", help="Its id, ano_….")],
    decision: Annotated[Decision, typer.Argument(help="accept: bill it as it was stated. discard: never bill it.")],
    words: Annotated[str, typer.Option(help="Why, for whoever asks later.")],
    as_json: AsJson = False,
) -> None:
    """Settle what was set aside, for good."""
    try:
        decided = AnomalyDecision(decision=decision, words=words)
    except ValidationError as error:
        wrong_input(error)
    found = ask(ctx, lambda peers: peers.accounting.settle_anomaly(anomaly, decided), as_json=as_json)
    print_one(found, lambda one: show.anomalies([one]), as_json=as_json)


def list_silences(
    ctx: typer.Context,
    site: Annotated[str | None, typer.Option(help="Of one site.")] = None,
    ended: Annotated[bool, typer.Option("--ended", help="Those that are over, instead of those that last.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List sites that state no more usage though something may run there, the last found first."""
    page = ask(
        ctx,
        lambda peers: peers.accounting.list_silences(site=site, lasting=not ended, limit=limit, cursor=cursor),
        as_json=as_json,
    )
    print_page(page, show.silences, "No silent sites.", as_json=as_json)


def add_to(group: typer.Typer) -> None:
    """Under `caravan finance`."""
    group.command("anomalies")(list_anomalies)
    group.command("settle")(settle)
    group.command("silences")(list_silences)
