"""slurmctld's clock."""

from typing import Final

from caravan.kernel import clock
from services.broker.adapters.slurm.dialect import plain
from services.broker.adapters.slurm.rest import Rest, readable

FRESH_SECONDS: Final = 5.0


class SiteClock:
    """In epoch seconds, never ahead of slurmctld's own."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._second, self._told_at = 0, float("-inf")

    async def ask(self) -> int:
        """Raises Unavailable."""
        answer = await self._rest.read("diag")
        if answer.faults:
            raise answer.unavailable()
        with readable():
            second = plain(answer.content["statistics"]["req_time"])
            if not second:
                raise ValueError("no time in it")
        self._second, self._told_at = second, clock.monotonic()
        return second

    async def now(self) -> int:
        """As `ask`, and without asking while the last answer is fresh."""
        passed = clock.monotonic() - self._told_at
        return self._second + int(passed) if passed < FRESH_SECONDS else await self.ask()
