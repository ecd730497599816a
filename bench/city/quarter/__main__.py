"""`python -m bench.city.quarter FOLDER [--records N] [--seed N] [--urls URL …]`: play the quarter without programmes, ask what each draft
would have paid, then play it once with each that is deducted; prints all that is compared as JSON.

Each play is in a process of its own. Without URLs of empty databases, one for each play, they are files in FOLDER.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import sys
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.city.playing import playing
from bench.city.quarter.drafts import DRAFTS
from bench.city.quarter.office import Office
from bench.city.quarter.paid import claims_so_far, read_paid, still_pledged
from bench.city.year import QUARTER
from bench.volume.playing import peak_mib
from caravan.kernel import clock
from caravan.kernel.logs import configure_logs
from services.accounting.ledger.verify import verify_ledger

AT_ONCE: Final = os.cpu_count() or 1
Played = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.city.quarter", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="where facts and SQLite files go; made if it isn't there")
    parser.add_argument("--records", type=int, default=2000, help="about how many usage records each play has")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--drafts", nargs="+", default=[*DRAFTS], choices=DRAFTS, help="of docs/programmes; else all")
    parser.add_argument("--urls", nargs="*", default=[], help="an empty PostgreSQL database for each play")
    asked = parser.parse_args()
    urls = [*asked.urls, *repeat(None, 1 + len(asked.drafts) - len(asked.urls))]
    # forked by one process that has imported everything and started no thread; each plays one quarter
    with multiprocessing.get_context("fork").Pool(AT_ONCE, maxtasksperchild=1) as pool:
        first = pool.apply(_play, (_Play(asked, "previews", asked.drafts, None, urls.pop()),))
        deducted = {name: one["terms"] for name, one in first["previews"].items() if "twin" not in one}
        plays = [_Play(asked, name, [name], terms, urls.pop()) for name, terms in deducted.items()]
        found = pool.map(_play, plays, chunksize=1)
    print(json.dumps({"first": first, "paid": dict(zip(deducted, found, strict=True))}))


class _Play(NamedTuple):
    """With vouchers of the one of `drafts`, by its `terms`; None: without any, to ask what all would have paid."""

    asked: argparse.Namespace
    name: str
    drafts: Sequence[str]
    terms: Played | None
    url: str | None


def _play(one: _Play) -> Played:
    configure_logs("error")
    return asyncio.run(_played(one))


async def _played(one: _Play) -> Played:
    began, asked, terms = clock.monotonic(), one.asked, one.terms

    def say(text: str) -> None:
        print(f"{one.name}, {text}", file=sys.stderr, flush=True)

    async with playing(asked.folder / one.name, QUARTER, asked.records, asked.seed, one.url, say) as player:
        await player.open()
        office = Office(player.asking, player.town)
        programme = None if terms is None else await office.issue(one.name, terms)
        periods: dict[str, int] = {}
        pledged: dict[str, int] = {}
        found: Played = {}
        wrong: list[str] = []
        for number in player.months:
            period = await player.month(number)
            periods[period] = number
            pledged = await player.db.read(still_pledged)
            report = await verify_ledger(player.db)
            wrong += [f"{finding.check} {finding.subject}: {finding.detail}" for finding in report.findings]
            if len(periods) == QUARTER.months and programme is None:
                found = {name: await office.draft(name, [*periods]) for name in one.drafts}
            elif len(periods) == QUARTER.months:
                found = {"claims": await player.db.read(claims_so_far), "pledged": pledged}
            await player.go_on(number, period)
        await player.finish()
        if terms is None or programme is None:
            drafts = found.items()
            found = {"previews": {name: await office.preview(name, draft, [*periods]) for name, draft in drafts}}
        else:
            paid = await read_paid(player, programme, terms["settles"], periods, pledged)
            found = {"quarter": found} | paid.told()
        found["wrong"] = wrong
        told = dict(sorted(player.books.counts.items()))
    return found | {"told": told, "peak_mib": peak_mib(), "seconds": round(clock.monotonic() - began, 1)}


if __name__ == "__main__":
    main()
