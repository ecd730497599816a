"""`caravan programmes …`: draft and publish subsidy programmes, set their pools, see what there is, and `estimates`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Group, RenderableType
from rich.table import Table

from caravan.cli import estimates
from caravan.cli.asking import (
    AsJson,
    Cursor,
    Limit,
    Out,
    answer,
    ask,
    console,
    misused,
    model_of,
    print_one,
    print_page,
    put,
    wrong_input,
)
from caravan.cli.show import more, pairs, table, when
from caravan.contracts.programme_reports import (
    FunderPart,
    ProgrammeCuts,
    ProgrammePayments,
    ProgrammeRefusals,
    ProgrammeStanding,
)
from caravan.contracts.programmes import Caps, Eligibility, PoolsDraft, Programme, ProgrammeDraft
from caravan.kernel.money import Money, percent

group = typer.Typer(no_args_is_help=True, help="What a city or district pays of what its enterprises use: 算力券.")
ProgrammeArgument = Annotated[str, typer.Argument(metavar="PROGRAMME", help="Its id, prg_….")]
TermsFile = Annotated[Path, typer.Argument(metavar="FILE", help="The programme's terms, JSON; - for stdin.")]
Version = Annotated[int, typer.Option(min=1, help="The version that you have read: `show` says it.")]


@group.command("list")
def list_programmes(ctx: typer.Context, limit: Limit = 50, cursor: Cursor = None, as_json: AsJson = False) -> None:
    """List programmes, the newest first; drafts for the office alone."""
    page = ask(ctx, lambda peers: peers.accounting.list_programmes(limit=limit, cursor=cursor), as_json=as_json)
    print_page(page, listed, "No programmes.", as_json=as_json)


@group.command()
def show(ctx: typer.Context, programme: ProgrammeArgument, as_json: AsJson = False) -> None:
    """Show a programme: who issues it, for whom, what it pays up to what, and what its pools have left."""
    found = ask(ctx, lambda peers: peers.accounting.get_programme(programme), as_json=as_json)
    print_one(found, detail, as_json=as_json)


@group.command()
def draft(ctx: typer.Context, file: TermsFile, as_json: AsJson = False) -> None:
    """Draft a programme. For the office, as all that follows."""
    terms = model_of(ProgrammeDraft, file)
    found = ask(ctx, lambda peers: peers.accounting.create_programme(terms), as_json=as_json)
    print_one(found, detail, as_json=as_json)


@group.command()
def change(
    ctx: typer.Context, programme: ProgrammeArgument, file: TermsFile, version: Version, as_json: AsJson = False
) -> None:
    """Replace a draft."""
    terms = model_of(ProgrammeDraft, file)
    found = ask(ctx, lambda peers: peers.accounting.update_programme(programme, terms, version), as_json=as_json)
    print_one(found, detail, as_json=as_json)


@group.command()
def publish(ctx: typer.Context, programme: ProgrammeArgument, version: Version, as_json: AsJson = False) -> None:
    """Publish a draft: its terms never change from then on."""
    found = ask(ctx, lambda peers: peers.accounting.publish_programme(programme, version), as_json=as_json)
    print_one(found, detail, as_json=as_json)


@group.command()
def pools(
    ctx: typer.Context,
    programme: ProgrammeArgument,
    pool: Annotated[list[str], typer.Argument(metavar="YEAR=AMOUNT…", help="All of them anew: 2026=5000000.00.")],
    version: Version,
    as_json: AsJson = False,
) -> None:
    """Say what may be issued in each year; never less than is committed of it."""
    given = [one.partition("=") for one in pool]
    if any(not year.isdecimal() for year, _, _ in given):
        misused("Give each pool as YEAR=AMOUNT, like 2026=5000000.00")
    values = [{"year": int(year), "amount": amount} for year, _, amount in given]
    try:
        wanted = PoolsDraft.model_validate({"pools": values})
    except ValidationError as error:
        wrong_input(error)
    found = ask(ctx, lambda peers: peers.accounting.set_programme_pools(programme, wanted, version), as_json=as_json)
    print_one(found, detail, as_json=as_json)


@group.command("standing")
def show_standing(
    ctx: typer.Context, programme: ProgrammeArgument, limit: Limit = 50, cursor: Cursor = None, as_json: AsJson = False
) -> None:
    """Show how a programme stands: pools, applications, vouchers, and what organizations have. For the office and finance."""
    found = ask(
        ctx,
        lambda peers: peers.accounting.get_programme_standing(programme, limit=limit, cursor=cursor),
        as_json=as_json,
    )
    if as_json:
        answer(found)
        return
    out = console()
    out.print(standing(found))
    more(out, found.next)


@group.command("payments")
def show_payments(
    ctx: typer.Context,
    programme: ProgrammeArgument,
    period: Annotated[str, typer.Option(help="A closed one, per_….")],
    as_json: AsJson = False,
) -> None:
    """Show what a programme pays by the close of a period: by seller and by funder. For the office and finance."""
    found = ask(ctx, lambda peers: peers.accounting.get_programme_payments(programme, period), as_json=as_json)
    print_one(found, payments, as_json=as_json)


@group.command("cuts")
def show_cuts(
    ctx: typer.Context,
    programme: ProgrammeArgument,
    year: Annotated[int | None, typer.Option(min=2000, max=2200, help="Claims in this calendar year alone.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show by how much the floor and each cap have cut claims of closed periods. For the office and finance."""
    found = ask(ctx, lambda peers: peers.accounting.get_programme_cuts(programme, year=year), as_json=as_json)
    print_one(found, cuts, as_json=as_json)


@group.command("refusals")
def show_refusals(ctx: typer.Context, programme: ProgrammeArgument, as_json: AsJson = False) -> None:
    """Show which applications and reimbursements reviewers have refused, by rule, with the last of each. For the office."""
    found = ask(ctx, lambda peers: peers.accounting.get_programme_refusals(programme), as_json=as_json)
    print_one(found, lambda one: refusals(one) if one.items else "Nothing was refused.", as_json=as_json)


@group.command()
def export(ctx: typer.Context, programme: ProgrammeArgument, out: Out = None) -> None:
    """All vouchers as CSV: who applied, reviewed and issued, what was claimed, paid and clawed back. For the office and finance."""
    put(ask(ctx, lambda peers: peers.accounting.export_programme(programme)), out)


def listed(found: Iterable[Programme]) -> Table:
    rows = [
        (one.id, one.name, one.issuer.name, one.issuer.level, one.state, when(one.starts_at), when(one.ends_at))
        for one in found
    ]
    return table(("!programme", "name", "issuer", "level", "state", "!from", "!until"), rows)


def detail(found: Programme) -> RenderableType:
    about = pairs(
        (
            ("programme", found.id),
            ("name", found.name),
            ("issuer", f"{found.issuer.name} ({found.issuer.level})"),
            ("state", f"{found.state}, version {found.version}"),
            ("applications", f"{when(found.starts_at)} to {when(found.ends_at)}"),
            ("pays", f"{found.mode}, each {found.settles}; vouchers are good for {found.valid_months} months"),
            ("for enterprises", _rules(found.eligibility) or "of all kinds"),
            ("supports", _all(*found.components, *found.tiers, *found.origins) or "all that is used"),
            ("floor", f"{found.floor} of a claim"),
            ("at most", _caps(found.caps) or "its pools"),
            (
                "beside other levels",
                "nothing" if found.stacks_to is None else f"up to {percent(found.stacks_to)} in all",
            ),
            ("funders", _all(*(f"{one.name} {percent(one.share)}" for one in found.funders)) or found.issuer.name),
        )
    )
    rates = [(percent(one.rate), one.kind or "", one.origin or "", one.use or "") for one in found.rates]
    years = [
        (str(pool.year), str(pool.amount), str(pool.committed), str(pool.amount - pool.committed))
        for pool in found.pools
    ]
    return Group(
        about,
        table((">rate", "for", "origin", "use"), rates),
        table((">year", ">pool", ">committed", ">left"), years),
    )


def _rules(found: Eligibility) -> str:
    """Those that are set, by name."""
    rules = found.model_dump(mode="json", exclude_defaults=True)
    return "; ".join(
        name + (f" {_all(*value)}" if isinstance(value, list) else "" if value is True else f" {value}")
        for name, value in rules.items()
    )


def _caps(found: Caps) -> str:
    caps = (
        ("a claim", found.claim),
        ("a voucher", found.voucher),
        ("the first voucher", found.first_voucher),
        ("of the contract", None if found.contract is None else percent(found.contract)),
        ("issued in a year", found.issued_in_year),
        ("redeemed in a year", found.redeemed_in_year),
    )
    return "; ".join(f"{most} {what}" for what, most in caps if most is not None)


def _all(*names: object) -> str:
    return ", ".join(map(str, names))


def standing(found: ProgrammeStanding) -> RenderableType:
    pools = [
        (str(pool.year), *map(str, (pool.amount, pool.committed, pool.amount - pool.committed, pool.redeemed)))
        for pool in found.pools
    ]
    counts = [
        (of, ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in states.items() if count) or "none")
        for of, states in (("applications", found.applications), ("vouchers", found.vouchers))
    ]
    own = [
        (
            one.organization,
            one.organization_name,
            str(one.year),
            *(str(one.issued), _most(one.most_issued)),
            *(str(one.redeemed), _most(one.most_redeemed)),
        )
        for one in found.items
    ]
    columns = ("!organization", "name", ">year", ">issued", ">of at most", ">redeemed", ">of at most")
    return Group(
        table((">year", ">pool", ">committed", ">left", ">redeemed"), pools), pairs(counts), table(columns, own)
    )


def payments(found: ProgrammePayments) -> RenderableType:
    names = [f">{one.funder}" for one in found.funders]
    sellers = [
        (one.seller, one.seller_name, str(one.earlier), str(one.amount), *_parts(one.funders)) for one in found.sellers
    ]
    other = [(one.voucher, one.organization_name, str(one.amount), *_parts(one.funders)) for one in found.other]
    back = [
        (one.reimbursement, one.organization_name, str(one.amount), *_parts(one.funders))
        for one in found.reimbursements
    ]
    parts = [
        table(
            ("!to", "name", ">of that for earlier periods", ">pays", *names),
            [*sellers, ("all", "", "", str(found.total), *_parts(found.funders))],
        ),
    ]
    if back:
        parts.insert(0, table(("!reimbursement", "organization", ">paid", *names), back))
    if other:
        parts.insert(0, table(("!clawed back, or on no line", "organization", ">pays", *names), other))
    return Group(*parts)


def cuts(found: ProgrammeCuts) -> RenderableType:
    rows = [(estimates.RULES[one.rule], str(one.claims), str(one.amount)) for one in found.items]
    about = (("claims", str(found.claims)), ("by the rates", str(found.claimed)))
    comes_to = (("paid or due", str(found.paid)), ("for later closes", str(found.waits)))
    return Group(pairs(about), table(("less", ">claims", ">amount"), rows), pairs(comes_to))


def refusals(found: ProgrammeRefusals) -> Table:
    rows = [
        (
            rule.rule or "none named",
            f"{place} of {rule.count}",
            one.application or one.reimbursement or "",
            one.organization,
            "\n".join(filter(None, (one.reason, one.remedy))),
            f"{when(one.reviewed_at)} by {one.reviewed_by}",
        )
        for rule in found.items
        for place, one in enumerate(rule.last, start=1)
    ]
    columns = ("rule", ">last", "!application or claim", "!organization", "why, and what would satisfy it", "reviewed")
    return table(columns, rows)


def _parts(funders: Iterable[FunderPart]) -> list[str]:
    return [str(one.amount) for one in funders]


def _most(cap: Money | None) -> str:
    return "" if cap is None else str(cap)


def add_to(app: typer.Typer) -> None:
    estimates.add_to(group)
    app.add_typer(group, name="programmes")
