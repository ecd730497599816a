"""`caravan explain`, `holds`, `budgets` and `statements`: what was charged and why, what is set aside and left, and the documents."""

from typing import Annotated

import typer

from caravan.cli import show
from caravan.cli.asking import AsJson, Cursor, Limit, Out, ask, print_one, print_page, put
from caravan.cli.jobs import JobArgument
from caravan.client import Peers, each
from caravan.contracts.statements import Statement, StatementLine

group = typer.Typer(no_args_is_help=True, help="The documents of closed periods.")
StatementArgument = Annotated[str, typer.Argument(metavar="STATEMENT", help="Its id, stm_….")]


def explain(
    ctx: typer.Context,
    id: Annotated[str, typer.Argument(metavar="JOB|LINE", help="A job's id, job_…, or a line's, lin_….")],
    as_json: AsJson = False,
) -> None:
    """Explain a job's charge down to the second, seconds x units x price; or a line of it, day by day."""
    if id.startswith("lin_"):
        line = ask(ctx, lambda peers: peers.accounting.explain_line(id), as_json=as_json)
        print_one(line, show.line_explanation, as_json=as_json)
    else:
        job = ask(ctx, lambda peers: peers.accounting.explain_job(id), as_json=as_json)
        print_one(job, show.explanation, as_json=as_json)


def holds(ctx: typer.Context, job: JobArgument, as_json: AsJson = False) -> None:
    """Show what is set aside for a job, and every step of it: your organization's money, or what you sell on."""
    found = ask(ctx, lambda peers: peers.accounting.list_holds(job), as_json=as_json)
    print_one(
        found,
        lambda one: show.holds(one) if one.items else "Nothing is set aside for it that you may see.",
        as_json=as_json,
    )


def budgets(
    ctx: typer.Context,
    organization: Annotated[str | None, typer.Option()] = None,
    project: Annotated[str | None, typer.Option("--project", "-p")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List budgets with what is charged, held and left of each."""
    page = ask(
        ctx,
        lambda peers: peers.accounting.list_budgets(
            organization=organization, project=project, limit=limit, cursor=cursor
        ),
        as_json=as_json,
    )
    print_page(page, show.budgets, "No budgets.", as_json=as_json)


@group.command("list")
def list_statements(
    ctx: typer.Context,
    period: Annotated[str | None, typer.Option()] = None,
    party: Annotated[str | None, typer.Option(help="An organization's or a provider's id.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List statements."""
    page = ask(
        ctx,
        lambda peers: peers.accounting.list_statements(period=period, party_id=party, limit=limit, cursor=cursor),
        as_json=as_json,
    )
    print_page(page, show.statements, "No statements: a period has some once it is closed.", as_json=as_json)


@group.command("show")
def show_statement(ctx: typer.Context, statement: StatementArgument, as_json: AsJson = False) -> None:
    """Show a statement with its lines."""

    async def read(peers: Peers) -> tuple[Statement, list[StatementLine]]:
        found = await peers.accounting.get_statement(statement)
        if as_json:
            return found, []
        return found, [line async for line in each(peers.accounting.list_statement_lines, statement, limit=200)]

    found, lines = ask(ctx, read, as_json=as_json)
    print_one(found, lambda one: show.statement(one, lines), as_json=as_json)


@group.command("csv")
def statement_csv(
    ctx: typer.Context,
    statement: StatementArgument,
    out: Out = None,
) -> None:
    """The statement as CSV: UTF-8 with a byte order mark, headers in Chinese and English."""
    document = ask(ctx, lambda peers: peers.accounting.get_statement_csv(statement))
    put(document, out)


@group.command("credit-notes")
def credit_notes(
    ctx: typer.Context,
    statement: Annotated[str | None, typer.Option(help="Of this statement alone, stm_….")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List credit notes, the newest first: what was given back of sealed statements, and why."""
    page = ask(
        ctx,
        lambda peers: peers.accounting.list_credit_notes(statement=statement, limit=limit, cursor=cursor),
        as_json=as_json,
    )
    print_page(page, show.credit_notes, "No credit notes.", as_json=as_json)


def add_to(app: typer.Typer) -> None:
    app.command()(explain)
    app.command()(holds)
    app.command()(budgets)
    app.add_typer(group, name="statements")
