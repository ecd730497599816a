"""`caravan finance tax-rule`, `tax-rules`, `fee-agreement`, `fee-agreements`: by what taxes and fees are reckoned, and from when on."""

from decimal import Decimal, InvalidOperation
from typing import Annotated, Final

import typer
from pydantic import ValidationError

from caravan.cli import show
from caravan.cli.asking import AsJson, Cursor, Limit, ask, misused, print_one, print_page, wrong_input
from caravan.contracts.fees import FeeAgreementDraft, FeeDue
from caravan.contracts.tax import PLATFORM, SupplyCategory, TaxRuleDraft, TaxTreatment

Seller = Annotated[str, typer.Option(help="A provider's id, prv_…, or platform: of its own fee.")]
StartsAt = Annotated[str, typer.Option(help="The first second, as RFC 3339: 2027-01-01T00:00:00+08:00.")]
EndsAt = Annotated[str | None, typer.Option(help="The second after the last one.")]
_HUNDREDTHS: Final = 100


def post_tax_rule(
    ctx: typer.Context,
    seller: Seller,
    starts_at: StartsAt,
    percent: Annotated[str | None, typer.Option(help="The rate, 6 or 6.5. Without one give --treatment.")] = None,
    treatment: Annotated[
        TaxTreatment, typer.Option(help="Of what has no rate: exempt (免税), not_taxable (不征税).")
    ] = (TaxTreatment.TAXED),
    ends_at: EndsAt = None,
    as_json: AsJson = False,
) -> None:
    """Say how what a seller sells is taxed from a second on."""
    category = SupplyCategory.PLATFORM_SERVICE if seller == PLATFORM else SupplyCategory.COMPUTE_SERVICE
    values = {
        "seller": seller,
        "category": category,
        "treatment": treatment,
        "starts_at": starts_at,
        "ends_at": ends_at,
    }
    try:
        draft = TaxRuleDraft.model_validate(values | {"rate": None if percent is None else hundredths(percent)})
    except ValidationError as error:
        wrong_input(error)
    found = ask(ctx, lambda peers: peers.accounting.post_tax_rule(draft), as_json=as_json)
    print_one(found, lambda one: show.tax_rules([one]), as_json=as_json)


def list_tax_rules(
    ctx: typer.Context,
    seller: Annotated[str | None, typer.Option(help="A provider's id, or platform.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List tax rules, the last posted first."""
    page = ask(
        ctx, lambda peers: peers.accounting.list_tax_rules(seller=seller, limit=limit, cursor=cursor), as_json=as_json
    )
    print_page(page, show.tax_rules, "No tax rules: providers are taxed at the catalog's rates.", as_json=as_json)


def make_fee_agreement(
    ctx: typer.Context,
    provider: Annotated[str, typer.Option(help="Its id, prv_….")],
    percent: Annotated[str, typer.Option(help="Of the gross, tax included: 5 or 5.25.")],
    starts_at: StartsAt,
    floor: Annotated[str, typer.Option(help="The least fee of a period, with two places.")] = "0.00",
    when_paid: Annotated[
        bool,
        typer.Option(
            "--when-paid", help="Due as organizations pay what it is taken of. Without: as the period closes."
        ),
    ] = False,
    ends_at: EndsAt = None,
    as_json: AsJson = False,
) -> None:
    """Agree on the fee that the platform keeps of what a provider is owed."""
    due = FeeDue.WHEN_PAID if when_paid else FeeDue.AT_CLOSE
    values = {"provider": provider, "floor": floor, "due": due, "starts_at": starts_at, "ends_at": ends_at}
    try:
        draft = FeeAgreementDraft.model_validate(values | {"rate": hundredths(percent)})
    except ValidationError as error:
        wrong_input(error)
    found = ask(ctx, lambda peers: peers.accounting.make_fee_agreement(draft), as_json=as_json)
    print_one(found, lambda one: show.fee_agreements([one]), as_json=as_json)


def list_fee_agreements(
    ctx: typer.Context,
    provider: Annotated[str | None, typer.Option(help="Its id, prv_….")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List fee agreements, the last made first."""
    page = ask(
        ctx,
        lambda peers: peers.accounting.list_fee_agreements(provider=provider, limit=limit, cursor=cursor),
        as_json=as_json,
    )
    print_page(page, show.fee_agreements, "No fee agreements: nothing is kept of any gross.", as_json=as_json)


def hundredths(percent: str) -> int:
    """A percentage as a rate; ends the command where it isn't one of at most two places."""
    try:
        rate = Decimal(percent.removesuffix("%")) * _HUNDREDTHS
    except InvalidOperation:
        rate = Decimal("NaN")
    if not rate.is_finite() or rate != rate.to_integral_value():
        misused("percent: give a number with at most two places, like 6 or 6.5")
    return int(rate)


def add_to(group: typer.Typer) -> None:
    group.command("tax-rule")(post_tax_rule)
    group.command("tax-rules")(list_tax_rules)
    group.command("fee-agreement")(make_fee_agreement)
    group.command("fee-agreements")(list_fee_agreements)
