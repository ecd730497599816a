"""kill -9 of accounting while it ingests, charges, closes and corrects: its books come out as if it had never died."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from bench.case import Trial, Verdict, case
from bench.money.rounds import Phase
from bench.postgres import empty_postgresql
from caravan.kernel import clock

LONG: Final = (11, 60)
SHORT: Final = (1, 40)
"""Rounds, each with all phases, and jobs of each."""
DEATHS, OF_A_PHASE = 30, 5
WITHIN: Final = 0.8
"""Of what a phase takes undisturbed: the machine may be quicker when it is killed."""
LIFE_SECONDS: Final = 600
Place = tuple[int, Phase]
"""A round's phase."""


@dataclass
class Lives:
    """Until the play was at its end. `seconds`: of phases that no death has ended; `died` in them, or `missed`: over before."""

    seconds: dict[Place, float] = field(default_factory=dict)
    died: Counter[Phase] = field(default_factory=Counter)
    missed: int = 0
    books: Any = None


@case(
    "money-crash",
    claim=f"kill -9 of accounting, {DEATHS} times on PostgreSQL and on SQLite, at any moment of ingest, charging, close and correction: "
    "lines, statements, credit notes and ledger are those of a run that never died",
    goal=f"books equal on both engines, verified; at least {DEATHS} deaths, {OF_A_PHASE} in each phase",
)
def money_crash(trial: Trial) -> Verdict:
    return asyncio.run(_money_crash(trial))


async def _money_crash(trial: Trial) -> Verdict:
    told, good, details = [], True, {}
    for engine in ("PostgreSQL", "SQLite") if trial.long else ("PostgreSQL",):
        undisturbed = await _lived(trial, engine, None)
        lives = await _lived(trial, engine, undisturbed.seconds)
        parts = differing(undisturbed.books, lives.books)
        wrong = [*undisturbed.books["wrong"], *lives.books["wrong"]]
        counts = {name: len(undisturbed.books[name]) for name in ("lines", "statements", "credit_notes")}
        enough = (
            sum(lives.died.values()) >= DEATHS and min(lives.died[phase] for phase in Phase) >= OF_A_PHASE
            if trial.long
            else sum(lives.died.values()) > 0
        )
        good = good and enough and not parts and not wrong and all(counts.values())
        hits = ", ".join(f"{lives.died[phase]} in {phase}" for phase in Phase)
        told.append(
            f"{engine}: {sum(lives.died.values())} deaths ({hits}), "
            + ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items())
            + (f" DIFFER in {', '.join(parts)}" if parts else " equal")
            + (f", {len(wrong)} findings" if wrong else "")
        )
        details[engine] = {"deaths": lives.died, "missed": lives.missed, "differing": parts, "wrong": wrong}
    return Verdict(good, "; ".join(told), details)


def differing(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Which parts of the books are not the same."""
    return [name for name in expected if expected[name] != found[name]]


async def _lived(trial: Trial, engine: str, seconds: Mapping[Place, float] | None) -> Lives:
    """Life after life up to the end of the play, with a death in each phase of each round; without `seconds` of the phases, in one."""
    name = f"{engine}-{'undisturbed' if seconds is None else 'killed'}"
    rounds, jobs = LONG if trial.long else SHORT
    folder = trial.folder / name
    command = [
        "-m",
        "bench.money",
        str(folder),
        "--seed",
        str(trial.seed),
        "--rounds",
        str(rounds),
        "--jobs",
        str(jobs),
    ]
    lives = Lives()
    tried: set[Place] = set()
    with _database(engine) as url:
        command += ["--url", url] if url else []
        while lives.books is None:
            if await _life(trial, command, lives, tried, seconds):
                lives.books = json.loads((folder / "books.json").read_text())
    trial.say(f"{name}: {sum(lives.died.values())} deaths, {lives.missed} too late")
    return lives


async def _life(
    trial: Trial, command: list[str], lives: Lives, tried: set[Place], seconds: Mapping[Place, float] | None
) -> bool:
    """Start it and follow what it says; kill it in the first phase in which that wasn't tried. Whether it came to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL if trial.quiet else None,
    )
    if process.stdout is None:
        raise RuntimeError("no pipe")
    begun: dict[Place, float] = {}
    death: asyncio.TimerHandle | None = None
    killed: list[Place] = []

    def kill(place: Place) -> None:
        killed.append(place)
        process.kill()

    try:
        async with asyncio.timeout(LIFE_SECONDS):
            async for line in process.stdout:
                number, phase, what = json.loads(line)
                place = number, Phase(phase)
                if what == "begins":
                    begun[place] = clock.monotonic()
                    if seconds is not None and place not in tried and not killed:
                        tried.add(place)
                        moment = trial.random.uniform(0, WITHIN * seconds[place])
                        death = asyncio.get_running_loop().call_later(moment, kill, place)
                else:
                    lives.seconds[place] = clock.monotonic() - begun.pop(place)
                    if death is not None:
                        death.cancel()
                        death, lives.missed = None, lives.missed + 1
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lives.died.update(phase for number, phase in killed if (number, phase) in begun)
    if process.returncode and not killed:
        raise RuntimeError(f"a life ended with {process.returncode}")
    return not killed


@contextmanager
def _database(engine: str) -> Iterator[str | None]:
    """The URL of an empty one; None: a file."""
    if engine == "SQLite":
        yield None
        return
    with empty_postgresql() as url:
        yield url
