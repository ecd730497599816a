"""Who bears which second of a job (docs/prices.md, "Who bears what"; docs/resale.md, "What is billed")."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from bench.city.independent.corrections import by_list, concerning
from bench.city.independent.reading import HOUR
from bench.city.independent.windows import PriceList, Rate, month
from bench.city.independent.world import Attempt, Correction, Grant, Job, Run, Side, Units

REASONS = {"site": "site_fault", "lost": "site_fault", "preempted": "preempted", "duplicate": "duplicate"}
ONE_JOB: Units = (("job", None, 1),)

Position = tuple[int, str]
"""A second of a run: seconds go one after another, the runs of one in the order of their ids."""
Party = tuple[str, str, str, str]
"""(organization, project, seller, provider)"""


class Stretch(NamedTuple):
    """Seconds [start, end) of one hour in which a run held the same: `within` its grant and `beyond`."""

    start: int
    end: int
    run: str
    attempt: str
    blame: str | None
    held: Units
    within: Units
    beyond: Units


class Piece(NamedTuple):
    """Seconds of a stretch at one price, for one buyer: `placed` is by the list of placement, `rate` as corrected."""

    start: int
    end: int
    stretch: Stretch
    party: Party
    mode: str
    placed: Rate
    rate: Rate

    @property
    def payable(self) -> bool:
        """Whether it is the organization's as far as its hold covers it."""
        return self.mode == "billed" and self.stretch.blame is None and bool(self.stretch.within)


def split(held: Units, grant: Grant) -> tuple[Units, Units]:
    """What of `held` was granted, and what is above it."""
    within = ((name, kind, min(count, grant.units[name])) for name, kind, count in held)
    beyond = ((name, kind, count - grant.units[name]) for name, kind, count in held)
    return tuple(unit for unit in within if unit[2] > 0), tuple(unit for unit in beyond if unit[2] > 0)


def blamed(run: Run, attempt: Attempt) -> str | None:
    """Why its centre bears a run by how it ended, if it does."""
    if run.upheld or (run.outcome == "preempted" and attempt.preempted_borne_by == "organization"):
        return None
    return REASONS.get(run.outcome or "")


def stretches(run: Run, attempt: Attempt) -> Iterator[Stretch]:
    """A run's seconds in order; those behind the first `max_seconds` in which it held anything are all beyond."""
    blame, grant = blamed(run, attempt), attempt.grant
    left = grant.max_seconds if grant else 0
    for hour in sorted(run.hours):
        for start, end, held in run.hours[hour][1]:
            if not held:
                continue
            if grant is None:
                yield Stretch(start, end, run.id, run.attempt, blame, held, held, ())
                continue
            limit = start + min(left, end - start)
            if start < limit:
                yield Stretch(start, limit, run.id, run.attempt, blame, held, *split(held, grant))
            if limit < end:
                yield Stretch(limit, end, run.id, run.attempt, blame, held, (), held)
            left -= limit - start


def pieces(
    held: Iterable[tuple[Stretch, Side]], corrections: Sequence[Correction], lists: dict[str, PriceList]
) -> list[Piece]:
    """The priced pieces of one buyer's seconds, with the price per job as one second of the run that has it."""
    found: list[Piece] = []
    known: dict[int, tuple[Side, Party, PriceList, tuple[int, ...], list[Correction]]] = {}
    first: tuple[int, str, Stretch, Side] | None = None
    for stretch, side in held:
        if id(side) not in known:
            placed = lists[side.price_list]
            party = side.organization, side.project, side.seller, side.provider
            chain = placed.chain(side.organization, side.price_class, side.options)
            known[id(side)] = side, party, placed, chain, concerning(side, corrections, lists)
        _, party, placed, chain, concerned = known[id(side)]
        mode = placed.mode(stretch.start)
        for start, end, rate in placed.rates(chain, stretch.start, stretch.end):
            if not concerned:
                found.append(Piece(start, end, stretch, party, mode, rate, rate))
                continue
            for begin, stop, name in by_list(start, end, concerned, placed.id):
                right = lists[name]
                ranked = right.chain(side.organization, side.price_class, side.options)
                for at, until, corrected in right.rates(ranked, begin, stop):
                    found.append(Piece(at, until, stretch, party, mode, rate, corrected))
        if stretch.blame is None and (first is None or (stretch.start, stretch.run) < first[:2]):
            first = stretch.start, stretch.run, stretch, side
    if first is not None:
        found.append(_per_job(found, first[2]))
    return found


def _per_job(found: list[Piece], stretch: Stretch) -> Piece:
    """The price per job, in the second in which one of the job's runs first held anything."""
    piece = next(piece for piece in found if piece.stretch is stretch and piece.start == stretch.start)
    second = stretch._replace(end=stretch.start + 1, held=ONE_JOB, within=ONE_JOB, beyond=())
    return piece._replace(end=stretch.start + 1, stretch=second)


def before(piece: Piece, at: Position) -> int:
    """Until when a piece lies before a position, at most its end and at least its start."""
    second, run = at
    limit = second + 1 if piece.stretch.run < run else second
    return max(piece.start, min(piece.end, limit))


def cost(paid: Iterable[Piece], at: Position | None = None) -> int:
    """Fen of what is payable before a position, by the prices of placement: each line rounded once."""
    quantities: dict[tuple[Party, int, Rate, str, str | None], int] = {}
    for piece in paid:
        length = (piece.end if at is None else before(piece, at)) - piece.start
        if length > 0:
            period = month(piece.start // HOUR * HOUR)
            for component, kind, count in piece.stretch.within:
                key = piece.party, period, piece.placed, component, kind
                quantities[key] = quantities.get(key, 0) + count * length
    return sum(key[2].amount(key[3], quantity) for key, quantity in quantities.items())


def used_up(found: list[Piece], hold: int) -> Position | None:
    """The first second of a run that the hold doesn't cover, or None where it covers all."""
    paid = [piece for piece in found if piece.payable]
    if cost(paid) <= hold:
        return None
    low, high = min(piece.start for piece in paid), max(piece.end for piece in paid) - 1
    while low < high:
        middle = (low + high) // 2
        if cost(paid, (middle + 1, "")) > hold:
            high = middle
        else:
            low = middle + 1
    runs = sorted({piece.stretch.run for piece in paid if piece.start <= low < piece.end})
    for run, after in zip(runs, [*runs[1:], None], strict=True):
        if cost(paid, (low + 1, "") if after is None else (low, after)) > hold:
            return low, run
    raise AssertionError("a second that isn't covered has a run that isn't")


def held_by(job: Job) -> tuple[list[tuple[Stretch, Side]], list[tuple[Stretch, Side]]]:
    """The job's seconds with who buys them: its organization, and resellers the same from the provider."""
    direct: list[tuple[Stretch, Side]] = []
    wholesale: list[tuple[Stretch, Side]] = []
    for run in sorted(job.runs.values(), key=lambda run: run.id):
        attempt: Attempt | None = job.attempts.get(run.attempt)
        if attempt is None:
            continue
        for stretch in stretches(run, attempt):
            direct.append((stretch, attempt.direct))
            if attempt.wholesale is not None:
                wholesale.append((stretch, attempt.wholesale))
    return direct, wholesale
