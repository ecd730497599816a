"""What a proposed correction would come to by the usage told until then (docs/corrections.md, "The preview")."""

from collections import defaultdict
from dataclasses import dataclass, field

from bench.city.independent.corrections import concerning
from bench.city.independent.lines import Amounts, charge
from bench.city.independent.world import Correction, Job, World


@dataclass(slots=True)
class Share:
    """What it comes to for one organization, in fen, over the jobs that change."""

    jobs: int = 0
    lines: int = 0
    before: int = 0
    after: int = 0


@dataclass(slots=True)
class Preview:
    """The shares, and how many jobs change: one that was resold is in the shares of two."""

    jobs: int = 0
    shares: dict[str, Share] = field(default_factory=lambda: defaultdict(Share))


def _all(job: Job, world: World, corrections: list[Correction]) -> Amounts:
    lines = charge(job, corrections, world.lists).lines
    return {key: amount for amounts in lines.values() for key, amount in amounts.items()}


def preview(correction: Correction, world: World) -> Preview:
    """By what was told until now; what was approved before holds on both sides of the comparison."""
    found = Preview()
    for name in sorted(world.jobs_of_offering.get(correction.offering, ())):
        job = world.jobs[name]
        sides = [side for attempt in job.attempts.values() for side in (attempt.direct, attempt.wholesale) if side]
        if not any(concerning(side, [correction], world.lists) for side in sides):
            continue
        was, now = _all(job, world, world.corrections), _all(job, world, [*world.corrections, correction])
        if was == now:
            continue
        found.jobs += 1
        changed: dict[str, int] = defaultdict(int)
        for key in was.keys() | now.keys():
            changed[key.organization] += was.get(key) != now.get(key)
        for organization, lines in changed.items():
            if lines:
                share = found.shares[organization]
                share.jobs += 1
                share.lines += lines
                share.before += _borne(was, organization)
                share.after += _borne(now, organization)
    return found


def _borne(lines: Amounts, organization: str) -> int:
    return sum(
        amount
        for key, (_, amount) in lines.items()
        if key.organization == organization and key.bearer == "organization"
    )
