"""Both tenants of a stand look at both jobs, in all ways: what each sees of its own, and of the other's."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Final

import httpx

from bench.leaking import Row, told_by_caravan
from bench.platform import until
from bench.slurm_tenants.plants import BRIEFLY, PLANTS, Plant, waiting
from bench.slurm_tenants.stand import Stand, Tenant
from bench.slurm_tenants.ways import BY_REST, ON_A_MACHINE, PLANTED, words_of

OF_A_JOB: Final = ("logs", "logs?stream=stderr", "tasks", "events", "attempts")


async def try_all(stand: Stand, when: str) -> list[Row]:
    rows = await try_on_a_machine(stand, when)
    rows += [await _by_a_job(stand, when)]
    return [*rows, *await _by_rest(stand, when), *await _by_api(stand, when)]


async def try_on_a_machine(
    stand: Stand, when: str, places: Mapping[str, Mapping[str, str]] = ON_A_MACHINE
) -> list[Row]:
    rows = []
    for place, ways in places.items():
        for way, command in ways.items():
            answers = [
                (by.user, await _shell(stand, by.user, words_of(of.about(command, by))))
                for by, of in product(stand.tenants, repeat=2)
            ]
            rows.append(_row(stand, f"{place}, {when}", way, answers))
    return rows


async def _shell(stand: Stand, user: str, command: str) -> str:
    return await asyncio.to_thread(stand.cluster.run, "sh", "-c", command, user=user)


async def _by_a_job(stand: Stand, when: str) -> Row:
    """Both tenants look around from inside a job that the platform started for them."""

    async def looked(by: Tenant) -> tuple[str, str]:
        ways = [command for ways in ON_A_MACHINE.values() for command in ways.values()]
        told = "\n".join(of.about(command, by) for of in stand.tenants for command in ways)
        return by.user, await by.customer.said(words_of(told))

    answers = await asyncio.gather(*map(looked, stand.tenants))
    return _row(stand, f"a job of one's own, {when}", "all of these", answers)


async def _by_rest(stand: Stand, when: str) -> list[Row]:
    """As oneself, and with one's own token in the other's name."""
    rows, cluster = [], stand.cluster
    async with httpx.AsyncClient(timeout=60) as http:
        versions = dict.fromkeys((cluster.api_versions[0], cluster.api_versions[-1]))
        for version, path in product(versions, BY_REST):
            answers = []
            for by, of in product(stand.tenants, repeat=2):
                url = f"{cluster.url}/{path.format(version=version, job=of.slurm_job)}"
                own = cluster.headers(by.user)
                for name in dict.fromkeys((by.user, of.user)):
                    answers.append((by.user, (await http.get(url, headers=own | {"X-SLURM-USER-NAME": name})).text))
            rows.append(_row(stand, f"slurmrestd, {when}", path.format(version=version, job="{id}"), answers))
    return rows


async def _by_api(stand: Stand, when: str) -> list[Row]:
    told = await told_by_caravan([(one.customer, one.job) for one in stand.tenants])
    return [_row(stand, f"Caravan, {when}", path, answers) for path, answers in told.items()]


async def try_plants(stand: Stand) -> list[Row]:
    """Something else is put where jobs' output was, and their owners read it through the platform."""
    alice, bob = stand.tenants
    pairs = ((alice, bob), (bob, alice)) if stand.trial.long else ((bob, alice),)
    ways = PLANTS if stand.trial.long else BRIEFLY
    tries = [(way, by, of) for way in ways for by, of in pairs]
    said = await asyncio.gather(
        *(_planted(stand, PLANTS[way], by, of, number) for number, (way, by, of) in enumerate(tries))
    )
    return [
        _row(
            stand, PLANTED, way, [(by.user, text) for (one, by, _), text in zip(tries, said, strict=True) if one == way]
        )
        for way in ways
    ]


async def _planted(stand: Stand, plant: Plant, by: Tenant, of: Tenant, number: int) -> str:
    """What `by` is told of its job before, while and after the plant is there. Raises RuntimeError where it did not take."""
    mark = by.folder / f"planted-{number}"
    script = waiting(by.words["output"], str(mark), plant.then)
    job = await by.customer.submitted(script, "planted")

    async def told() -> str:
        headers = {"Authorization": f"Bearer {stand.platform.token(f'org/{by.customer.organization}:member')}"}
        async with httpx.AsyncClient(timeout=60, headers=headers) as http:
            url = f"{stand.platform.url('broker')}/v1/jobs/{job}"
            answers = await asyncio.gather(*(http.get(f"{url}/{part}") for part in OF_A_JOB))
        return "".join(answer.text for answer in answers)

    async def read_by_its_owner() -> str:
        text = await told()
        return text if by.words["output"] in text else ""

    async def its_files() -> list[str]:
        return await asyncio.to_thread(_lines, mark)

    before = await until(read_by_its_owner, "an owner to read its own output")
    out, err = await until(its_files, "a job to tell where its output is")
    does, took = (of.about(command, by, root=str(stand.root), out=out, err=err) for command in (plant.does, plant.took))
    await _shell(stand, "root" if plant.by_root else by.user, does)
    if await _shell(stand, "root", f"if {took}; then echo there; fi") != "there\n":
        raise RuntimeError(f"this did not take: {does}")
    while_there = await told()
    mark.unlink()
    await by.customer.settled(job)
    afterwards = await told()
    if plant.by_root:
        await _shell(stand, "root", f"rm {out} {err}")
    return before + while_there + afterwards


def _lines(file: Path) -> list[str]:
    return file.read_text().split() if file.exists() else []


def _row(stand: Stand, place: str, way: str, answers: Sequence[tuple[str, str]]) -> Row:
    row = stand.words.seen(place, way, answers)
    stand.trial.say(f"{stand.cluster.release}: {row}")
    return row
