"""`caravan programmes preview` and `forecast`: what one would have paid, in a terminal and as a chart; and how long its pool lasts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import ValidationError
from rich.console import Group, RenderableType

from caravan.cli import chart
from caravan.cli.asking import AsJson, ask, misused, print_one, wrong_input
from caravan.cli.show import both, pairs, table, when
from caravan.contracts.base import Words
from caravan.contracts.estimates import Forecast, Preview, PreviewedClaim, PreviewedPool, PreviewQuestion
from caravan.contracts.programme_reports import CutRule

ProgrammeArgument = Annotated[str, typer.Argument(metavar="PROGRAMME", help="Its id, prg_….")]
RULES: Final = {
    CutRule.FLOOR: "claims below the floor",
    CutRule.CLAIM: "the cap of a claim",
    CutRule.VOUCHER: "the cap of a voucher",
    CutRule.REDEEMED_IN_YEAR: "the cap of a year",
}


def preview(
    ctx: typer.Context,
    programme: ProgrammeArgument,
    period: Annotated[list[str], typer.Option(help="A closed one, per_…; again for each.")],
    organization: Annotated[list[str] | None, typer.Option(help="Only these, org_…; again for each.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="As what each is reviewed, as rates name it.")] = None,
    use: Annotated[str | None, typer.Option(help="What each voucher is for.")] = None,
    chart_file: Annotated[
        Path | None, typer.Option("--chart", metavar="FILE", help="Write a bar chart there, SVG.", dir_okay=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a programme, also a draft, would have paid, had each enterprise had a voucher. For the office."""
    given = {"periods": period, "organizations": organization, "assume": {"kinds": kind or [], "use": use}}
    try:
        question = PreviewQuestion.model_validate(given)
    except ValidationError as error:
        wrong_input(error)
    found = ask(ctx, lambda peers: peers.accounting.preview_programme(programme, question), as_json=as_json)
    if chart_file is not None:
        try:
            chart_file.write_text(charted(found), encoding="utf-8")
        except OSError as error:
            misused(f"{chart_file} can't be written: {error.strerror}")
    print_one(found, shown, as_json=as_json)


def forecast(ctx: typer.Context, programme: ProgrammeArgument, as_json: AsJson = False) -> None:
    """Show when this year's pool is used up, and what is redeemed by the year's end, if it goes on so. For the office."""
    found = ask(ctx, lambda peers: peers.accounting.forecast_programme(programme), as_json=as_json)
    print_one(found, foreseen, as_json=as_json)


def foreseen(found: Forecast) -> RenderableType:
    """What is known by month, and where that leads to, in both languages."""
    about = (
        ("programme", found.programme_name),
        (f"pool of {found.year}", str(found.pool)),
        ("committed", str(found.committed)),
        ("left", str(found.pool - found.committed)),
    )
    months = [(one.month, str(one.issued), str(one.redeemed)) for one in found.months]
    words = [f"{one.zh}\n{one.en}" for one in found.words]
    return Group(pairs(about), table(("!month", ">issued", ">redeemed"), months), *words)


def shown(found: Preview) -> RenderableType:
    """The sums, and tables by year, enterprise, centre and span."""
    about = (
        ("programme", found.programme_name),
        ("used", str(found.used)),
        ("supported", str(found.supported)),
        ("by the rates", str(found.claimed)),
        *((f"less, {words}", str(fen)) for rule, words in RULES.items() if (fen := getattr(found.cut, rule))),
        ("would have paid", f"{found.pays} ({found.mode})"),
    )
    organizations = [
        (one.name, one.organization, *map(str, (one.used, one.supported, one.claimed, one.pays)))
        for one in found.organizations
    ]
    providers = [(one.name, one.provider, str(one.used), str(one.pays)) for one in found.providers]
    pools = [
        (str(one.year), str(one.pays), "none" if one.amount is None else str(one.amount), str(one.above or ""))
        for one in found.pools
    ]
    columns = ("!organization", ">used", ">supported", ">by the rates", ">pays")
    return Group(
        pairs(about),
        table((">year", ">pays", ">pool", ">above the pool"), pools),
        *(words for one in found.pools if (words := _above(one))),
        table(("enterprise", *columns), organizations),
        table(("centre", "!provider", ">used", ">pays"), providers),
        table(("!claims from", ">by the rates", ">pays"), _claims(found.claims)),
    )


def charted(found: Preview) -> str:
    """An SVG document."""
    return chart.drawn(
        f"{found.programme_name}：测算 preview",
        "使用金额 used",
        "补贴 paid by the programme",
        (
            chart.Bars("企业 Enterprises", [chart.Bar(one.name, one.used, one.pays) for one in found.organizations]),
            chart.Bars("算力中心 Centres", [chart.Bar(one.name, one.used, one.pays) for one in found.providers]),
        ),
    )


def _above(pool: PreviewedPool) -> str | None:
    """What is to be said where the pool would have been passed, in both languages."""
    if not pool.above:
        return None
    return both(
        Words(
            zh=f"测算补贴超出 {pool.year} 年资金池 {pool.above} 元：资金池在发放时占用，部分企业将领不到券，或面额较少。",
            en=f"{pool.above} CNY above the pool of {pool.year}, which vouchers commit as they are issued: some of these enterprises "
            "would have had none, or one for less.",
        )
    )


def _claims(claims: Sequence[PreviewedClaim]) -> list[tuple[str, str, str]]:
    return [(when(one.starts_at), str(one.claimed), str(one.pays)) for one in claims]


def add_to(group: typer.Typer) -> None:
    group.command()(preview)
    group.command()(forecast)
