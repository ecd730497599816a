"""`caravan reimbursements …`: claiming what programmes pay back of what was paid first; reviewing claims, and paying them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Group, RenderableType
from rich.table import Table

from caravan.cli.asking import AsJson, Cursor, Key, Limit, ask, bytes_of, print_one, print_page, put, wrong_input
from caravan.cli.programmes import ProgrammeArgument
from caravan.cli.show import pairs, table, when
from caravan.cli.vouchers import OfProgramme, Remedy, Rule, files, reviews
from caravan.client import Peers, each
from caravan.contracts.reimbursements import (
    DueSpan,
    Reimbursable,
    ReimbursedLine,
    Reimbursement,
    ReimbursementDraft,
    ReimbursementPaymentDraft,
    ReimbursementState,
    RepaymentDraft,
)
from caravan.contracts.vouchers import ReviewDraft

group = typer.Typer(no_args_is_help=True, help="Claim what programmes pay back; review what was claimed, and pay it.")
ReimbursementArgument = Annotated[str, typer.Argument(metavar="REIMBURSEMENT", help="Its id, rei_….")]
OrganizationArgument = Annotated[str, typer.Argument(metavar="ORGANIZATION", help="Its id, org_….")]


@group.command()
def due(ctx: typer.Context, organization: OrganizationArgument, as_json: AsJson = False) -> None:
    """Show what an organization may claim now, and what waits until a span of claims is over."""
    found = ask(ctx, lambda peers: peers.accounting.get_reimbursable(organization), as_json=as_json)
    print_one(
        found,
        lambda one: reimbursable(one.items) if one.items else "No voucher of a programme that reimburses.",
        as_json=as_json,
    )


@group.command()
def file(
    ctx: typer.Context,
    organization: OrganizationArgument,
    programme: ProgrammeArgument,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Claim all that is due now by a programme. Attach proof of payment then, before the review begins."""
    try:
        draft = ReimbursementDraft.model_validate({"organization": organization, "programme": programme})
    except ValidationError as error:
        wrong_input(error)
    found = ask(ctx, lambda peers: peers.accounting.file_reimbursement(draft, key), as_json=as_json)
    print_one(found, detail, as_json=as_json)


@group.command()
def attach(
    ctx: typer.Context,
    reimbursement: ReimbursementArgument,
    file: Annotated[list[Path], typer.Argument(metavar="FILE…", help="PDF, PNG, JPG, XLSX or CSV; 8 MiB at most.")],
    as_json: AsJson = False,
) -> None:
    """Add proof of payment; a file of the same name is replaced."""
    contents = [(one.name, bytes_of(one)) for one in file]

    async def store(peers: Peers) -> Reimbursement:
        for name, content in contents:
            await peers.accounting.store_reimbursement_evidence(reimbursement, name, content)
        return await peers.accounting.get_reimbursement(reimbursement)

    print_one(ask(ctx, store, as_json=as_json), detail, as_json=as_json)


@group.command()
def evidence(
    ctx: typer.Context,
    reimbursement: ReimbursementArgument,
    name: Annotated[str, typer.Argument(help="Of the file.")],
    to: Annotated[Path, typer.Option(help="Where it is written.")],
) -> None:
    """Download a file."""
    put(ask(ctx, lambda peers: peers.accounting.get_reimbursement_evidence(reimbursement, name)), to)


@group.command("list")
def list_reimbursements(
    ctx: typer.Context,
    state: Annotated[ReimbursementState | None, typer.Option(help="In this state alone.")] = None,
    organization: Annotated[str | None, typer.Option(help="Of one organization, org_….")] = None,
    programme: OfProgramme = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List what was filed, the oldest first: the queue of the office and finance, or your organization's."""
    page = ask(
        ctx,
        lambda peers: peers.accounting.list_reimbursements(
            state=state, organization=organization, programme=programme, limit=limit, cursor=cursor
        ),
        as_json=as_json,
    )
    print_page(page, listed, "Nothing was filed.", as_json=as_json)


@group.command()
def show(ctx: typer.Context, reimbursement: ReimbursementArgument, as_json: AsJson = False) -> None:
    """Show what was filed, with its evidence, its reviews and its lines."""

    async def read(peers: Peers) -> tuple[Reimbursement, list[ReimbursedLine]]:
        found = await peers.accounting.get_reimbursement(reimbursement)
        return found, [one async for one in each(peers.accounting.list_reimbursed_lines, reimbursement, limit=200)]

    found, lines = ask(ctx, read, as_json=as_json)
    print_one(found, lambda one: Group(detail(one), of_lines(lines)), as_json=as_json)


@group.command()
def review(
    ctx: typer.Context,
    reimbursement: ReimbursementArgument,
    passed: Annotated[bool, typer.Option("--passed/--refused", help="Whether it passes.")],
    version: Annotated[int, typer.Option(min=1, help="The version that you have read: `show` says it.")],
    reason: Annotated[str, typer.Option(help="For the enterprise to read.")],
    rule: Rule = None,
    remedy: Remedy = None,
    as_json: AsJson = False,
) -> None:
    """Review what was filed: two persons of the office do, one after the other; a third may refuse what they have passed."""
    try:
        draft = ReviewDraft.model_validate({"passed": passed, "reason": reason, "rule": rule, "remedy": remedy})
    except ValidationError as error:
        wrong_input(error)
    found = ask(
        ctx, lambda peers: peers.accounting.review_reimbursement(reimbursement, draft, version), as_json=as_json
    )
    print_one(found, detail, as_json=as_json)


@group.command()
def pay(
    ctx: typer.Context,
    reimbursement: ReimbursementArgument,
    reference: Annotated[str, typer.Option(help="Of the payment, at the bank or treasury.")],
    on: Annotated[str, typer.Option(help="The day on which it was paid, like 2026-07-31.")],
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Record that what was approved is paid. For finance."""
    try:
        draft = ReimbursementPaymentDraft.model_validate({"reference": reference, "paid_on": on})
    except ValidationError as error:
        wrong_input(error)
    found = ask(ctx, lambda peers: peers.accounting.pay_reimbursement(reimbursement, draft, key), as_json=as_json)
    print_one(found, detail, as_json=as_json)


@group.command()
def repay(
    ctx: typer.Context,
    organization: OrganizationArgument,
    programme: ProgrammeArgument,
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="All that is owed: `due` says it.")],
    reference: Annotated[str, typer.Option(help="Of the payment, at the bank or treasury.")],
    on: Annotated[str, typer.Option(help="The day on which it was paid back, like 2026-07-31.")],
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Record that an organization has paid back what was taken back of what it had been paid. For finance."""
    given = {"organization": organization, "programme": programme, "amount": amount}
    try:
        draft = RepaymentDraft.model_validate(given | {"reference": reference, "paid_on": on})
    except ValidationError as error:
        wrong_input(error)
    found = ask(ctx, lambda peers: peers.accounting.repay_reimbursement(draft, key), as_json=as_json)
    print_one(found, detail, as_json=as_json)


@group.command()
def withdraw(ctx: typer.Context, reimbursement: ReimbursementArgument, as_json: AsJson = False) -> None:
    """Take back what was filed, before it is approved."""
    found = ask(ctx, lambda peers: peers.accounting.withdraw_reimbursement(reimbursement), as_json=as_json)
    print_one(found, detail, as_json=as_json)


def reimbursable(found: Iterable[Reimbursable]) -> Table:
    rows = [
        (
            one.programme,
            one.programme_name,
            str(one.amount),
            str(one.clawed_back),
            str(one.waits),
            "" if one.waits_until is None else when(one.waits_until),
            str(one.owed),
            one.pending or "",
        )
        for one in found
    ]
    return table(("!programme", "name", ">due now", ">clawed back", ">waits", "!until", ">owed", "!filed before"), rows)


def listed(found: Iterable[Reimbursement]) -> Table:
    rows = [(one.id, one.programme, one.organization, str(one.amount), one.state, when(one.filed_at)) for one in found]
    return table(("!reimbursement", "!programme", "!organization", ">amount", "state", "!filed"), rows)


def detail(found: Reimbursement) -> RenderableType:
    paid = found.payment
    about = pairs(
        (
            ("reimbursement", found.id),
            ("programme", found.programme),
            ("organization", found.organization),
            ("state", f"{found.state}, version {found.version}"),
            ("amount", str(found.amount)),
            ("clawed back", str(found.clawed_back)),
            ("filed", f"{when(found.filed_at)} by {found.filed_by}"),
            ("paid", "" if paid is None else f"{paid.paid_on}, {paid.reference}, by {paid.paid_by}"),
            *((one.funder, str(one.amount)) for one in found.funders),
        )
    )
    return Group(about, _spans(found.spans), files(found.evidence), reviews(found.reviews))


def of_lines(found: Iterable[ReimbursedLine]) -> Table:
    rows = [
        (one.line.job or "", one.line.component, one.voucher, str(one.line.amount), str(one.share), str(one.pays))
        for one in found
    ]
    return table(("!job", "component", "!voucher", ">amount", ">share", ">pays"), rows)


def _spans(found: Iterable[DueSpan]) -> Table:
    rows = [(one.voucher, when(one.starts_at), str(one.claimed), str(one.amount)) for one in found]
    return table(("!voucher", "!span from", ">share", ">pays"), rows)


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="reimbursements")
