"""`caravan finance …`: record deposits, cut and close periods, read the trial balance and an organization's funds; and `terms`."""

from typing import Annotated

import typer
from pydantic import ValidationError

from caravan.cli import anomalies, corrections, show, terms
from caravan.cli.asking import AsJson, Cursor, Key, Limit, ask, console, print_one, print_page, wrong_input
from caravan.cli.waiting import until
from caravan.client import Peers, each
from caravan.contracts.credit_notes import CreditNoteDraft
from caravan.contracts.funds import DepositDraft
from caravan.contracts.statements import Period, PeriodCut, PeriodState
from caravan.kernel import clock

group = typer.Typer(
    no_args_is_help=True, help="For finance: deposits, periods, the trial balance, funds, tax rules, fee agreements."
)
PeriodArgument = Annotated[str, typer.Argument(metavar="PERIOD", help="Its id, per_….")]


@group.command()
def deposit(
    ctx: typer.Context,
    organization: Annotated[str, typer.Option(help="Whose money it is, org_….")],
    amount: Annotated[str, typer.Option(help="With two places: 100.00.")],
    reference: Annotated[str, typer.Option(help="The bank's reference; each counts once.")],
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Record money that came in."""
    try:
        draft = DepositDraft.model_validate({"organization": organization, "amount": amount, "reference": reference})
    except ValidationError as error:
        wrong_input(error)
    found = ask(ctx, lambda peers: peers.accounting.record_deposit(draft, key), as_json=as_json)
    print_one(found, show.deposit, as_json=as_json)


@group.command()
def funds(
    ctx: typer.Context,
    organization: Annotated[str, typer.Argument(metavar="ORGANIZATION", help="Its id, org_….")],
    as_json: AsJson = False,
) -> None:
    """Show what an organization has, and what of it is free."""
    found = ask(ctx, lambda peers: peers.accounting.get_funds(organization), as_json=as_json)
    print_one(found, show.funds, as_json=as_json)


@group.command()
def periods(ctx: typer.Context, limit: Limit = 50, cursor: Cursor = None, as_json: AsJson = False) -> None:
    """List billing periods, the latest first."""
    page = ask(ctx, lambda peers: peers.accounting.list_periods(limit=limit, cursor=cursor), as_json=as_json)
    print_page(page, show.periods, "No periods: there is one once the platform has run.", as_json=as_json)


@group.command()
def cut(
    ctx: typer.Context,
    period: PeriodArgument,
    at: Annotated[str, typer.Option(help="A whole second as RFC 3339, with its offset: 2026-06-16T00:00:00+08:00.")],
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """End an open period at a second to come, or at a past one at or after which no usage was applied.

    The rest of it becomes the next period.
    """
    try:
        wanted = PeriodCut.model_validate({"at": at})
    except ValidationError as error:
        wrong_input(error)
    found = ask(ctx, lambda peers: peers.accounting.cut_period(period, wanted, key), as_json=as_json)
    print_one(found, show.period, as_json=as_json)


@group.command()
def close(
    ctx: typer.Context,
    period: PeriodArgument,
    wait: Annotated[bool, typer.Option(help="Stay until it is closed.")] = True,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Close a period for good, and stay until it is closed. What that waits for goes to stderr.

    The platform goes on with it when nobody stays. One that isn't over closes once it is, and can't be cut any more.
    """

    async def start(peers: Peers) -> Period:
        closing = await peers.accounting.close_period(period, key)
        return await _until_closed(peers, period) if wait else closing

    print_one(ask(ctx, start, as_json=as_json), show.period, as_json=as_json)


@group.command("credit-note")
def credit_note(
    ctx: typer.Context,
    statement: Annotated[str, typer.Option(help="The organization's statement that the line stands on, stm_….")],
    line: Annotated[str, typer.Option(help="The line, lin_….")],
    amount: Annotated[str, typer.Option(help="What is given back of it, with two places: 100.00.")],
    reason: Annotated[str, typer.Option(help="For both parties to read.")],
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Give back some of a line on a sealed statement, with a numbered document."""
    given = {"statement": statement, "line": line, "amount": amount, "reason": reason}
    try:
        draft = CreditNoteDraft.model_validate(given)
    except ValidationError as error:
        wrong_input(error)
    found = ask(ctx, lambda peers: peers.accounting.issue_credit_note(draft, key), as_json=as_json)
    print_one(found, lambda one: show.credit_notes([one]), as_json=as_json)


@group.command("trial-balance")
def trial_balance(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show all accounts with what was debited and credited. The sum of their balances is zero."""
    found = ask(ctx, lambda peers: peers.accounting.get_trial_balance(), as_json=as_json)
    print_one(found, show.trial_balance, as_json=as_json)


async def _until_closed(peers: Peers, period: str) -> Period:
    """Poll until the period is closed; what it waits for is said whenever that changes."""
    err, said = console(stderr=True), ""
    sites: dict[str, str] = {}

    async def read() -> Period:
        found = await peers.accounting.get_period(period)
        if found.waiting_for and not sites:
            sites.update([(site.id, site.name) async for site in each(peers.catalog.list_sites)])
        return found

    def tell(found: Period | None) -> None:
        nonlocal said
        words = "Nothing answers, asking again" if found is None else show.waits(found, sites, clock.now())
        if words and words != said:
            err.print(words)
        said = words

    return await until(read, lambda found: found.state is PeriodState.CLOSED, tell)


def add_to(app: typer.Typer) -> None:
    terms.add_to(group)
    group.add_typer(corrections.group, name="correction")
    anomalies.add_to(group)
    app.add_typer(group, name="finance")
