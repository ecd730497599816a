"""Secret words in the jobs of several organizations at one cluster, and who sees whose."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import Final

import httpx

from bench.customers import Customer
from caravan.kernel.settings import ServiceName

WORD: Final = "xian-[a-z]*-[a-z]*-[0-9a-f]*-end"
"""What each word looks like, to `grep`."""
ANYBODY: Final = "*"
"""A looker who may see all words."""
BY_API: Final[Mapping[ServiceName, Sequence[str]]] = {
    "broker": (
        "jobs", "quotes", "jobs/{id}", "jobs/{id}/tasks", "jobs/{id}/attempts", "jobs/{id}/events", "jobs/{id}/logs",
        "jobs/{id}/logs?stream=stderr",
    ),
    "accounting": ("lines", "lines?job={id}", "jobs/{id}/explanation", "holds/{id}", "lines?organization={organization}"),
}  # fmt: skip
"""Where one looks at a job through Caravan."""


@dataclass(frozen=True)
class Row:
    """What was seen of all words in one way."""

    place: str
    way: str
    owner: tuple[str, ...]
    """Kinds of words that were seen by who may."""
    other: tuple[str, ...]
    """Those that somebody else saw."""

    def __str__(self) -> str:
        seen = f"LEAK of {', '.join(self.other)}" if self.other else "nothing"
        return f"{self.place} | {self.way} | {seen} | who may: {', '.join(self.owner) or 'nothing'}"


def unseen(rows: Sequence[Row], must_be_seen: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """What nobody saw who may, of these places and kinds."""
    for place, kind in must_be_seen:
        if not any(kind in row.owner for row in rows if row.place.startswith(place)):
            yield place, kind


class Words:
    """Each is somebody's, and of a kind: where its job carries it."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._words: dict[str, tuple[str, str]] = {}

    def new(self, whose: str, kind: str) -> str:
        word = f"xian-{whose}-{kind}-{self._random.getrandbits(64):016x}-end"
        self._words[word] = (whose, kind)
        return word

    def found_in(self, text: str) -> set[tuple[str, str]]:
        """Whose words of which kinds are in it, also as a Secret of Kubernetes' has them."""
        return {
            of for word, of in self._words.items() if word in text or base64.b64encode(word.encode()).decode() in text
        }

    def seen(self, place: str, way: str, answers: Sequence[tuple[str, str]]) -> Row:
        """`answers`: who looked, and what they were told."""
        owner: set[str] = set()
        other: set[str] = set()
        for by, answer in answers:
            for whose, kind in self.found_in(answer):
                if by in (whose, ANYBODY):
                    owner.add(kind)
                else:
                    other.add(f"{whose}'s {kind}")
        return Row(place, way, tuple(sorted(owner)), tuple(sorted(other)))


async def told_by_caravan(jobs: Sequence[tuple[Customer, str]]) -> dict[str, list[tuple[str, str]]]:
    """Path -> who asked, and what they were told; each of the customers asks about each of the jobs."""
    told: dict[str, list[tuple[str, str]]] = {}
    async with httpx.AsyncClient(timeout=60) as http:
        for service, path in ((service, path) for service, paths in BY_API.items() for path in paths):
            for (by, _), (of, job) in product(jobs, repeat=2):
                url = f"{by.platform.url(service)}/v1/{path.format(id=job, organization=of.organization)}"
                headers = {"Authorization": f"Bearer {by.platform.token(f'org/{by.organization}:admin')}"}
                told.setdefault(path, []).append((by.name, (await http.get(url, headers=headers)).text))
    return told
