"""What is wrong at a cluster that can be asked."""

from typing import Final

from caravan.kernel import clock
from services.broker.adapters.port import Unavailable
from services.broker.adapters.slurm.rest import Rest, readable
from services.broker.adapters.slurm.settings import Settings
from services.broker.adapters.slurm.site_clock import SiteClock

SLOW_SECONDS: Final = 2.0
SKEW_SECONDS: Final = (5, 60, 3600)
"""It is told by the largest of these that it is over: the same trouble has the same words, and is news once."""


async def faults(rest: Rest, site_clock: SiteClock, settings: Settings) -> tuple[str, ...]:
    """In words of both languages. Raises Unavailable: slurmrestd or slurmctld is away."""
    asked_at, before = clock.monotonic(), clock.to_seconds(clock.now())
    second = await site_clock.ask()
    told = [*_slow(clock.monotonic() - asked_at), *_skew(second, before, clock.to_seconds(clock.now()))]
    return (*told, *await _books(rest, settings.cluster))


def _slow(seconds: float) -> list[str]:
    if seconds < SLOW_SECONDS:
        return []
    return [
        f"slurmctld 响应缓慢（超过 {SLOW_SECONDS:.0f} 秒） slurmctld takes more than {SLOW_SECONDS:.0f} s to answer"
    ]


def _skew(second: int, before: int, after: int) -> list[str]:
    """Times of runs are by the cluster's clock, and prices by the calendar. Its `second` was told between our `before` and `after`:
    how long the answer took is no skew."""
    ahead = second - min(max(second, before), after)
    told = [seconds for seconds in SKEW_SECONDS if seconds <= abs(ahead)]
    if not told:
        return []
    chinese, english = ("快", "ahead of") if ahead > 0 else ("慢", "behind")
    return [f"集群时钟比平台{chinese} {told[-1]} 秒以上 its clock is {told[-1]} s or more {english} the platform's"]


async def _books(rest: Rest, cluster: str) -> list[str]:
    """Any user may ask for the clusters, and there are few."""
    try:
        answer = await rest.read("clusters", books=True)
        if answer.faults:
            raise answer.unavailable()
        with readable():
            names = [one["name"] for one in answer.content["clusters"]]
    except Unavailable as error:
        return [f"slurmdbd 不可用，用量稍后补记 slurmdbd can't be asked, usage comes later: {error}"]
    if cluster in names:
        return []
    return [
        f"slurmdbd 中没有集群 {cluster} slurmdbd knows no cluster {cluster}, but {', '.join(names) or 'none'}: see the site's settings"
    ]
