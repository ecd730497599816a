"""Holding what a preview says against what was then paid, to the fen: by organization, span of claims and centre. Pure; amounts are fen."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from bench.city.quarter.paid import Own
from caravan.contracts.programmes import ProgrammeDraft, ProgrammeTerms
from caravan.kernel.clock import to_seconds
from caravan.kernel.money import Money
from services.accounting.programmes.claims import Claim, paid

NOTHING: Final[dict[str, Any]] = vars(Own())
YEAR: Final = 2025
CUTS: Final = ("floor", "claim", "voucher", "redeemed_in_year")


@dataclass
class Compared:
    """`counts`: how many were compared, and how many of them each limit has cut. `kept`: what organizations aren't paid as jobs still
    have it pledged. `moved`: what stands with another centre where a limit cuts claims: lines are filled as each
    period closes, and by a preview in one."""

    counts: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    kept: int = 0
    moved: int = 0
    pays: int = 0


def compare(preview: Mapping[str, Any], told: Mapping[str, Any]) -> Compared:
    """`preview`: of a draft as `Office.preview` has it; `told`: as `Paid.told` has what was paid."""
    found = Compared(pays=_fen(preview["all"]["pays"]))
    found.differences += [f"previews: {text}" for text in _of_itself(preview)]
    each, owns = preview["each"], dict(told["organizations"])
    terms = ProgrammeDraft.model_validate(preview["terms"])
    on_lines = total = 0
    for organization, of_one in sorted(each.items()):
        one, own = of_one["organizations"][0], owns.pop(organization, NOTHING)
        expected = _expected(terms, one, own["pledged"])
        kept = _fen(one["pays"]) - sum(pays for _, pays in expected.values())
        found.kept += kept
        found.counts["kept"] += kept != 0
        for name, said, is_so in _pairs(one, own, expected):
            found.counts[name] += 1
            if said != is_so:
                found.differences.append(f"{organization}, {name}: {said} fen by the preview, and {is_so}")
        found.counts.update(cut for cut in CUTS if _fen(one["cut"][cut]))
        centres = {centre["provider"]: centre for centre in of_one["providers"]}
        _centres(found, organization, centres, own, whole_paid=one["pays"] == one["claimed"])
        on_lines += sum(own["paid"].values()) + own["earlier"]
        total += sum(own["pays"].values())
    for claim, previewed, closed in _quarter(found, terms, preview["quarter"], told["quarter"]):
        found.counts["of the quarter"] += 1
        if previewed != closed:
            found.differences.append(f"{claim} as the quarter closed: {previewed} fen by the preview, and {closed}")
    found.differences += [f"{organization}: no preview has it" for organization, own in owns.items() if own["pays"]]
    if not found.pays - found.kept == total == on_lines:
        found.differences.append(f"{found.pays} fen by the preview in all, {total} settled, {on_lines} on lines")
    return found


def _quarter(
    found: Compared, terms: ProgrammeTerms, preview: Mapping[str, Any], told: Mapping[str, Any]
) -> Iterator[tuple[str, list[int], list[int]]]:
    """(claim, what is claimed and paid of it by a preview of the quarter's own periods, what is so once these are closed)"""
    claims = dict(told["claims"])
    for one in preview["organizations"]:
        own = claims.pop(one["organization"], {})
        expected = _expected(terms, one, told["pledged"].get(one["organization"], 0))
        found.counts["kept then"] += _fen(one["pays"]) != sum(pays for _, pays in expected.values())
        for start in sorted({*expected, *own}):
            yield f"{one['organization']} from {start}", [*expected.get(start, (0, 0))], own.get(start, [0, 0])
    yield "all others", [], [*claims]


def _expected(terms: ProgrammeTerms, one: Mapping[str, Any], pledged: int) -> dict[str, tuple[int, int]]:
    """What is claimed and paid by span, where so much of the voucher is pledged: by the preview, unless some is."""
    claims = {to_seconds(datetime.fromisoformat(claim["starts_at"])): claim for claim in one["claims"]}
    found = {start: (_fen(claim["claimed"]), _fen(claim["pays"])) for start, claim in claims.items()}
    if pledged:
        full = [Claim("", start, YEAR, claimed) for start, (claimed, _) in found.items()]
        pays = paid(terms, {"": _fen(one["voucher"]) - pledged}, full)
        found = {claim.start: (claim.full, fen) for claim, fen in pays.items()}
    return {str(start): both for start, both in found.items()}


def _of_itself(preview: Mapping[str, Any]) -> Iterator[str]:
    """Where the preview of all isn't the sum of those of each, or that of a draft that reimburses not that of one that is deducted."""
    of_all = preview["all"]
    alone = [one["organizations"][0] for one in preview["each"].values()]
    if sorted(alone, key=_id) != sorted(of_all["organizations"], key=_id):
        yield "of organizations alone it isn't what it is of all"
    sold: Counter[tuple[str, str]] = Counter()
    for one in preview["each"].values():
        for centre in one["providers"]:
            sold.update({(centre["provider"], name): _fen(centre[name]) for name in ("used", "pays")})
    for centre in of_all["providers"]:
        if any(sold[centre["provider"], name] != _fen(centre[name]) for name in ("used", "pays")):
            yield f"{centre['provider']}: {centre} isn't the sum of organizations'"
    for name in ("used", "pays"):
        if _fen(of_all[name]) != sum(_fen(centre[name]) for centre in of_all["providers"]):
            yield f"{name} isn't the sum of centres'"
    twin = preview.get("twin", of_all)
    if twin | {"programme": of_all["programme"], "mode": of_all["mode"]} != of_all:
        yield "what reimburses comes to something else"


def _id(one: Mapping[str, Any]) -> Any:
    return one["organization"]


def _pairs(
    one: Mapping[str, Any], own: Mapping[str, Any], expected: Mapping[str, tuple[int, int]]
) -> Iterator[tuple[str, int, int]]:
    """(what of an organization, what the preview says of it, what is so)"""
    yield "used", _fen(one["used"]), sum(own["sold"].values())
    for start in sorted({*expected, *own["spans"], *own["pays"]}):
        claimed, pays = expected.get(start, (0, 0))
        yield "claimed", claimed, own["spans"].get(start, 0)
        yield "pays", pays, own["pays"].get(start, 0)


def _centres(
    found: Compared, organization: str, centres: Mapping[str, Any], own: Mapping[str, Any], *, whole_paid: bool
) -> None:
    """Where all that is claimed is paid, it is the centres' shares, whichever close paid them; where nothing is, no centre has any."""
    apart = []
    for provider in sorted({*centres, *own["sold"]}):
        said = centres.get(provider, {"used": "0.00", "pays": "0.00"})
        found.counts["centres used"] += 1
        if _fen(said["used"]) != own["sold"].get(provider, 0):
            found.differences.append(f"{organization} of {provider}: {said['used']} used, and {own['sold']}")
        pays, shares, stands = _fen(said["pays"]), own["shares"].get(provider, 0), own["paid"].get(provider, 0)
        if whole_paid:
            found.counts["centres pay"] += 1
            if pays != shares:
                found.differences.append(f"{organization} of {provider}: {pays} fen by the preview, and {shares}")
        else:
            apart.append(pays - stands)
    found.moved += (sum(map(abs, apart)) - abs(sum(apart))) // 2


def _fen(money: str) -> int:
    return Money.parse(money).fen
