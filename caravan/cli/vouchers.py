"""`caravan vouchers …`: what an enterprise applies for and has; what the office reviews, issues and revokes."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Group, RenderableType
from rich.table import Table

from caravan.cli.asking import (
    AsJson,
    Cursor,
    Key,
    Limit,
    ask,
    bytes_of,
    model_of,
    print_one,
    print_page,
    put,
    wrong_input,
)
from caravan.cli.jobs import JobArgument
from caravan.cli.show import both, pairs, table, when
from caravan.client import Peers
from caravan.contracts.redemptions import JobRedemption, VoucherShare
from caravan.contracts.vouchers import (
    ApplicationState,
    ClawbackDraft,
    EligibilityAnswer,
    EligibilityQuestion,
    Evidence,
    RefusalRule,
    Review,
    ReviewDraft,
    RevocationDraft,
    Voucher,
    VoucherApplication,
    VoucherApplicationDraft,
)
from caravan.kernel.money import percent

group = typer.Typer(no_args_is_help=True, help="Apply for vouchers of programmes, review, issue and revoke them.")
ApplicationArgument = Annotated[str, typer.Argument(metavar="APPLICATION", help="Its id, vap_….")]
VoucherArgument = Annotated[str, typer.Argument(metavar="VOUCHER", help="Its id, vou_….")]
Rule = Annotated[RefusalRule | None, typer.Option(help="Which isn't met, where it doesn't pass.")]
Remedy = Annotated[str | None, typer.Option(help="What would satisfy it, where it doesn't pass.")]
OfProgramme = Annotated[str | None, typer.Option("--programme", help="Of one programme, prg_….")]


@group.command()
def eligibility(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="organization, enterprise and use, JSON; - for stdin.")],
    as_json: AsJson = False,
) -> None:
    """Ask what your organization may apply for now, and why not for the rest."""
    question = model_of(EligibilityQuestion, file)
    found = ask(ctx, lambda peers: peers.accounting.check_eligibility(question), as_json=as_json)
    print_one(
        found, lambda one: answers(one.items) if one.items else "No programme takes applications now.", as_json=as_json
    )


@group.command()
def apply(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The application, JSON; - for stdin.")],
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Apply for a voucher. Attach evidence then, before the review begins."""
    draft = model_of(VoucherApplicationDraft, file)
    found = ask(ctx, lambda peers: peers.accounting.apply_for_voucher(draft, key), as_json=as_json)
    print_one(found, detail, as_json=as_json)


@group.command()
def attach(
    ctx: typer.Context,
    application: ApplicationArgument,
    file: Annotated[list[Path], typer.Argument(metavar="FILE…", help="PDF, PNG, JPG, XLSX or CSV; 8 MiB at most.")],
    as_json: AsJson = False,
) -> None:
    """Add evidence to an application; a file of the same name is replaced."""
    contents = [(one.name, bytes_of(one)) for one in file]

    async def store(peers: Peers) -> VoucherApplication:
        for name, content in contents:
            await peers.accounting.store_voucher_evidence(application, name, content)
        return await peers.accounting.get_voucher_application(application)

    print_one(ask(ctx, store, as_json=as_json), detail, as_json=as_json)


@group.command()
def evidence(
    ctx: typer.Context,
    application: ApplicationArgument,
    name: Annotated[str, typer.Argument(help="Of the file.")],
    to: Annotated[Path, typer.Option(help="Where it is written.")],
) -> None:
    """Download a file of an application."""
    content = ask(ctx, lambda peers: peers.accounting.get_voucher_evidence(application, name))
    put(content, to)


@group.command()
def applications(
    ctx: typer.Context,
    state: Annotated[ApplicationState | None, typer.Option(help="In this state alone.")] = None,
    programme: OfProgramme = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List applications, the oldest first: the office's queue, or your organization's."""
    page = ask(
        ctx,
        lambda peers: peers.accounting.list_voucher_applications(
            state=state, programme=programme, limit=limit, cursor=cursor
        ),
        as_json=as_json,
    )
    print_page(page, listed, "No applications.", as_json=as_json)


@group.command()
def application(ctx: typer.Context, application: ApplicationArgument, as_json: AsJson = False) -> None:
    """Show an application, with its evidence and reviews."""
    found = ask(ctx, lambda peers: peers.accounting.get_voucher_application(application), as_json=as_json)
    print_one(found, detail, as_json=as_json)


@group.command()
def withdraw(ctx: typer.Context, application: ApplicationArgument, as_json: AsJson = False) -> None:
    """Take an application back, before a voucher is issued."""
    found = ask(ctx, lambda peers: peers.accounting.withdraw_voucher_application(application), as_json=as_json)
    print_one(found, detail, as_json=as_json)


@group.command()
def review(
    ctx: typer.Context,
    application: ApplicationArgument,
    passed: Annotated[bool, typer.Option("--passed/--refused", help="Whether it passes.")],
    version: Annotated[int, typer.Option(min=1, help="The version that you have read: `application` says it.")],
    reason: Annotated[str, typer.Option(help="For the enterprise to read.")],
    rule: Rule = None,
    remedy: Remedy = None,
    as_json: AsJson = False,
) -> None:
    """Review an application: two persons of the office do, one after the other; a third may refuse what they have passed."""
    try:
        draft = ReviewDraft.model_validate({"passed": passed, "reason": reason, "rule": rule, "remedy": remedy})
    except ValidationError as error:
        wrong_input(error)
    found = ask(
        ctx, lambda peers: peers.accounting.review_voucher_application(application, draft, version), as_json=as_json
    )
    print_one(found, detail, as_json=as_json)


@group.command()
def issue(ctx: typer.Context, application: ApplicationArgument, as_json: AsJson = False) -> None:
    """Issue the voucher of an approved application. For the office."""
    found = ask(ctx, lambda peers: peers.accounting.issue_voucher(application), as_json=as_json)
    print_one(found, lambda one: vouchers([one]), as_json=as_json)


@group.command("list")
def list_vouchers(
    ctx: typer.Context,
    organization: Annotated[str | None, typer.Option(help="Of one organization, org_….")] = None,
    programme: OfProgramme = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List vouchers, the newest first: your organization's; all to the office and finance."""
    page = ask(
        ctx,
        lambda peers: peers.accounting.list_vouchers(
            organization=organization, programme=programme, limit=limit, cursor=cursor
        ),
        as_json=as_json,
    )
    print_page(page, vouchers, "No vouchers.", as_json=as_json)


@group.command()
def show(ctx: typer.Context, voucher: VoucherArgument, as_json: AsJson = False) -> None:
    """Show a voucher."""
    found = ask(ctx, lambda peers: peers.accounting.get_voucher(voucher), as_json=as_json)
    print_one(found, lambda one: vouchers([one]), as_json=as_json)


@group.command("shares")
def list_shares(
    ctx: typer.Context, voucher: VoucherArgument, limit: Limit = 50, cursor: Cursor = None, as_json: AsJson = False
) -> None:
    """List what a voucher has of lines of closed periods: at which rate, its share, and what of that is paid or due."""
    page = ask(
        ctx, lambda peers: peers.accounting.list_voucher_shares(voucher, limit=limit, cursor=cursor), as_json=as_json
    )
    print_page(page, shares, "No shares of lines of closed periods.", as_json=as_json)


@group.command()
def revoke(
    ctx: typer.Context,
    voucher: VoucherArgument,
    reason: Annotated[str, typer.Option(help="For the enterprise to read.")],
    as_json: AsJson = False,
) -> None:
    """End a voucher before its time. For the office."""
    try:
        draft = RevocationDraft.model_validate({"reason": reason})
    except ValidationError as error:
        wrong_input(error)
    found = ask(ctx, lambda peers: peers.accounting.revoke_voucher(voucher, draft), as_json=as_json)
    print_one(found, lambda one: vouchers([one]), as_json=as_json)


@group.command("claw-back")
def claw_back(
    ctx: typer.Context,
    voucher: VoucherArgument,
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="Of what it has paid, like 1200.00.")],
    reason: Annotated[str, typer.Option(help="For the enterprise to read.")],
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Take back what a voucher has paid of closed periods: its organization owes it again. For the office."""
    try:
        draft = ClawbackDraft.model_validate({"amount": amount, "reason": reason})
    except ValidationError as error:
        wrong_input(error)
    found = ask(ctx, lambda peers: peers.accounting.claw_back_voucher(voucher, draft, key), as_json=as_json)
    print_one(found, lambda one: vouchers([one]), as_json=as_json)


@group.command()
def saved(ctx: typer.Context, job: JobArgument, as_json: AsJson = False) -> None:
    """Show what vouchers pay of a job: so far, and of its lines in closed periods."""
    found = ask(ctx, lambda peers: peers.accounting.get_job_redemption(job), as_json=as_json)
    print_one(found, savings, as_json=as_json)


def answers(found: Iterable[EligibilityAnswer]) -> Table:
    rows = [
        (
            one.programme,
            one.name,
            "" if one.limit is None else str(one.limit.most),
            "\n".join(both(one.words) for one in (*one.unmet, one.limit) if one is not None),
        )
        for one in found
    ]
    return table(("!programme", "name", ">at most", "why"), rows)


def listed(found: Iterable[VoucherApplication]) -> Table:
    rows = [
        (one.id, one.programme, one.organization, str(one.amount), one.state, when(one.applied_at)) for one in found
    ]
    return table(("!application", "!programme", "!organization", ">amount", "state", "!applied"), rows)


def detail(found: VoucherApplication) -> RenderableType:
    enterprise, bought = found.enterprise, found.contract
    about = pairs(
        (
            ("application", found.id),
            ("programme", found.programme),
            ("organization", found.organization),
            ("state", f"{found.state}, version {found.version}"),
            ("amount", str(found.amount)),
            ("contract", "" if bought is None else f"{bought.number}, {bought.amount}"),
            ("use", found.use or ""),
            ("enterprise", f"{enterprise.place} {enterprise.industry} {enterprise.size} {enterprise.registered_on}"),
            ("kinds", ", ".join(enterprise.kinds)),
            ("affiliates", ", ".join(enterprise.affiliates)),
            ("not listed as dishonest", "yes" if enterprise.clear_credit else "no"),
            ("applied", f"{when(found.applied_at)} by {found.applied_by}"),
            ("voucher", found.voucher or ""),
        )
    )
    return Group(about, files(found.evidence), reviews(found.reviews))


def files(found: Iterable[Evidence]) -> Table:
    rows = [(one.name, one.media_type, str(one.size_bytes), one.sha256) for one in found]
    return table(("evidence", "kind", ">bytes", "sha256"), rows)


def reviews(found: Iterable[Review]) -> Table:
    rows = [
        (
            str(one.stage),
            "passed" if one.passed else f"refused: {one.rule}" if one.rule else "refused",
            "\n".join(filter(None, (one.reason, one.remedy))),
            f"{when(one.reviewed_at)} by {one.reviewed_by}",
        )
        for one in found
    ]
    return table((">stage", "found", "why, and what would satisfy it", "reviewed"), rows)


def vouchers(found: Iterable[Voucher]) -> Table:
    rows = [
        (
            one.id,
            one.programme,
            one.organization,
            str(one.amount),
            str(one.pledged),
            str(one.redeemed),
            str(one.clawed_back),
            str(one.released),
            str(one.amount - one.pledged - one.released),
            one.state,
            when(one.expires_at),
            one.revocation.reason if one.revocation else "",
        )
        for one in found
    ]
    parties = ("!voucher", "!programme", "!organization")
    money = (">amount", ">pledged", ">redeemed", ">clawed back", ">released", ">left")
    return table((*parties, *money, "state", "!good until", "why it was revoked"), rows)


def shares(found: Iterable[VoucherShare]) -> Table:
    rows = [
        (
            one.line,
            one.period,
            one.job or "volume discount",
            one.component,
            str(one.amount),
            "" if one.rate is None else percent(one.rate),
            *(str(fen) for fen in (one.share, one.paid, one.later)),
        )
        for one in found
    ]
    of_line = ("!line", "!period", "!job", "component", ">amount")
    return table((*of_line, ">rate", ">share", ">paid", ">paid later"), rows)


def savings(found: JobRedemption) -> RenderableType:
    rows = [
        (
            one.voucher,
            one.programme_name,
            *(str(fen) for fen in (one.pledged, one.redeemed, one.paid, one.due, one.saved)),
        )
        for one in found.vouchers
    ]
    columns = ("!voucher", "programme", ">pledged", ">redeemed", ">paid of closed periods", ">to reimburse", ">saved")
    return Group(table(columns, rows), pairs((("saved on the job", str(found.saved)),)))


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="vouchers")
