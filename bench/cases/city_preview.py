"""A quarter of a made city: what previews say of drafts is what is then paid where their vouchers were there before."""

import json
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from bench.case import Trial, Verdict, case
from bench.city.quarter.compare import CUTS, Compared, compare
from bench.city.quarter.drafts import DRAFTS
from bench.city.quarter.picture import beside
from bench.postgres import empty_postgresql

RECORDS, SHORT_RECORDS = 8_000, 600
SHORT_DRAFTS: Final = ("quarterly", "province-and-city", "paid-first")
RESULTS: Final = Path(__file__).parents[1] / "results"
MET: Final = (*CUTS, "discounts", "corrections", "resold", "paid in part", "for earlier lines", "pledged", "redeemed")
"""Each of these is met at least once, or the quarter proves nothing of it."""


@case(
    "city-preview",
    claim=f"A quarter of a made city, {RECORDS:,} usage records on PostgreSQL: what the programmes of docs/ pay there is to the fen what "
    "a preview says of a quarter without them, for each organization, span of claims and centre",
    goal="0 differences; all closes verified; floor, claim, voucher and year each cut some; discounts, corrections, resold lines paid",
)
def city_preview(trial: Trial) -> Verdict:
    drafts = [*DRAFTS] if trial.long else [*SHORT_DRAFTS]
    with ExitStack() as servers:
        urls = [servers.enter_context(empty_postgresql()) for _ in (0, *drafts)] if trial.long else []
        city = _played(trial, drafts, urls)
    previews, paid = city["first"]["previews"], city["paid"]
    compared = {name: compare(previews[name], told) for name, told in paid.items()}
    if trial.long:
        RESULTS.mkdir(exist_ok=True)
        for name, told in paid.items():
            (RESULTS / f"{trial.name}-{name}.svg").write_text(beside(previews[name], told), encoding="utf-8")
    return _verdict(trial, city, compared)


def _verdict(trial: Trial, city: Any, compared: dict[str, Compared]) -> Verdict:
    plays = [city["first"], *city["paid"].values()]
    differences = [f"{name}: {text}" for name, one in compared.items() for text in one.differences]
    wrong = [text for play in plays for text in (*play["wrong"], *play.get("findings", ()))]
    met: Counter[str] = Counter()
    for name, one in compared.items():
        met.update(one.counts)
        met.update(city["paid"][name]["counts"])
        trial.say(_row(name, one, city["paid"][name]))
    unmet = [what for what in MET if not met[what]]
    records = {play["told"]["records"] for play in plays}
    pays = sum(one.pays for one in compared.values())
    return Verdict(
        passed=not differences and not wrong and not unmet and len(records) == 1,
        figure=f"{min(records):,} records, played {len(plays)} times; {met['pays']:,} claims of {met['used']:,} vouchers and "
        f"{met['centres pay']:,} sums of centres: {len(differences)} differences; {pays / 100:,.2f} paid; {len(wrong)} findings; "
        + ", ".join(f"{met[what]:,} {what}" for what in MET)
        + (f"; never met: {', '.join(unmet)}" if unmet else ""),
        details={
            "drafts": {name: vars(one) | {"differences": one.differences[:20]} for name, one in compared.items()},
            "counts": {name: told["counts"] for name, told in city["paid"].items()},
            "wrong": wrong[:20],
            "seconds": [play["seconds"] for play in plays],
            "peak_mib": max(play["peak_mib"] for play in plays),
            "told": city["first"]["told"],
        },
    )


def _row(name: str, one: Compared, told: Any) -> str:
    cuts = ", ".join(f"{cut} {one.counts[cut]}" for cut in CUTS)
    return (
        f"{name:18} pays {one.pays / 100:14,.2f}  {told['counts']['shares']:7,} lines  {one.counts['pays']:4} claims, cut: {cuts}  "
        f"kept {one.kept / 100:,.2f} of {one.counts['kept']}  moved {one.moved / 100:,.2f}  "
        f"{len(one.differences)} differences  {told['seconds']:.0f} s"
    )


def _played(trial: Trial, drafts: list[str], urls: list[str]) -> Any:
    records = RECORDS if trial.long else SHORT_RECORDS
    command = [sys.executable, "-m", "bench.city.quarter", str(trial.folder / "quarter"), "--records", str(records)]
    command += ["--seed", str(trial.seed), "--drafts", *drafts, "--urls", *urls]
    said = subprocess.DEVNULL if trial.quiet else None
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, text=True, check=True)
    return json.loads(done.stdout)
