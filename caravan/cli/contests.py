"""`caravan contests`: what a provider says against bearing a run, and what finance decides."""

from typing import Annotated

import typer
from pydantic import ValidationError

from caravan.cli import show
from caravan.cli.asking import AsJson, Cursor, Limit, ask, print_one, print_page, wrong_input
from caravan.contracts.contests import ContestDecision, ContestDraft, Decision

group = typer.Typer(no_args_is_help=True, help="What providers say against bearing a run, and what finance decides.")


@group.command("open")
def contest(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(help="A run that your provider bears, run_….")],
    reason: Annotated[str, typer.Option(help="Why it shouldn't, for both parties to read.")],
    as_json: AsJson = False,
) -> None:
    """Contest that your provider bears a run, by how it ended. Finance decides."""
    try:
        draft = ContestDraft.model_validate({"run": run, "reason": reason})
    except ValidationError as error:
        wrong_input(error)
    found = ask(ctx, lambda peers: peers.accounting.contest_run(draft), as_json=as_json)
    print_one(found, lambda one: show.contests([one]), as_json=as_json)


@group.command("list")
def contests(
    ctx: typer.Context,
    run: Annotated[str | None, typer.Option(help="Of this run alone, run_….")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List contests, the newest first: which runs, why, and what was decided."""
    page = ask(ctx, lambda peers: peers.accounting.list_contests(run=run, limit=limit, cursor=cursor), as_json=as_json)
    print_page(page, show.contests, "No contests.", as_json=as_json)


@group.command("decide")
def decide(
    ctx: typer.Context,
    contest: Annotated[str, typer.Argument(help="The contest, cts_….")],
    decision: Annotated[Decision, typer.Argument(help="Upheld, the organization bears the run.")],
    words: Annotated[str, typer.Option(help="Why, for both parties to read.")],
    overlap: Annotated[
        bool, typer.Option("--overlap", help="Also for seconds that another run of its array task is billed for.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Decide a contest, which somebody else must have opened."""
    try:
        decided = ContestDecision.model_validate({"decision": decision, "words": words, "overlap": overlap})
    except ValidationError as error:
        wrong_input(error)
    found = ask(ctx, lambda peers: peers.accounting.decide_contest(contest, decided), as_json=as_json)
    print_one(found, lambda one: show.contests([one]), as_json=as_json)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(group, name="contests")
