"""The port's Backend over one cluster's slurmrestd."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from caravan.contracts.dispatch import Submission
from caravan.contracts.offerings import InventoryItem
from caravan.kernel import clock
from caravan.kernel.logs import get_logger
from services.broker.adapters.port import (
    Books,
    LogBytes,
    NotSeen,
    OutcomeUnknown,
    Rejected,
    Seen,
    SiteContext,
    SiteRefused,
    Staged,
    Unavailable,
)
from services.broker.adapters.slurm import health, inventory, output, tokens
from services.broker.adapters.slurm.booked import Booked
from services.broker.adapters.slurm.dialect import plain
from services.broker.adapters.slurm.errors import GONE, NOBODY, OVER, STRANGER
from services.broker.adapters.slurm.grant import limit_minutes
from services.broker.adapters.slurm.inventory import Part
from services.broker.adapters.slurm.reference import Reference
from services.broker.adapters.slurm.rest import Rest, readable
from services.broker.adapters.slurm.settings import Settings, Target, Tenant, said
from services.broker.adapters.slurm.site_clock import SiteClock
from services.broker.adapters.slurm.staged import StagedList
from services.broker.adapters.slurm.submit import array_tasks, request
from services.broker.adapters.slurm.tres import Accelerators
from services.broker.adapters.slurm.watch import Watch

log = get_logger(__name__)

PARTS_SECONDS: Final = 60.0
"""How long the site's partitions and nodes are believed when a job is checked against them."""


class SlurmBackend:
    """One cluster. Several of them, also in several processes, may work on it at once."""

    def __init__(self, site: str, settings: Settings, accelerators: Accelerators, rest: Rest) -> None:
        self._site = site
        self._settings = settings
        self._accelerators = accelerators
        self._rest = rest
        self._clock = SiteClock(rest)
        self._watch = Watch(rest, self._clock, settings, accelerators)
        self._staged = StagedList(rest, site)
        self._booked = Booked(site, rest, settings.cluster, accelerators)
        self._users: set[str] = set()
        """Whom slurmctld was seen to know."""
        self._parts: tuple[Part, ...] = ()
        self._parts_at = float("-inf")

    async def close(self) -> None:
        await self._watch.close()

    async def inventory(self) -> tuple[InventoryItem, ...]:
        return tuple(map(inventory.item, await self._read_parts()))

    async def probe(self) -> tuple[str, ...]:
        return await health.faults(self._rest, self._clock, self._settings)

    async def now(self) -> datetime:
        return clock.from_seconds(await self._clock.ask())

    async def stage(self, submission: Submission) -> str:
        try:
            tenant = Tenant.model_validate(submission.tenant_settings)
            target = Target.model_validate(submission.target)
        except ValidationError as error:
            raise Rejected(f"the mapping of the tenant or the offering's target is wrong: {said(error)}") from error
        await self._check(submission, target, tenant)
        dialect = await self._rest.dialect()
        body = request(submission, self._site, self._settings, tenant, self._accelerators, dialect)
        second = await self._clock.now()
        answer = await self._rest.act("POST", "job/submit", tenant.user, body)
        job = answer.content.get("job_id")
        # a job id means that it was taken, whatever errors stand beside it (2042: held)
        if not isinstance(job, int) or job <= 0:
            if answer.says(STRANGER):
                raise Rejected(f"{self._stranger(tenant, target)}; Slurm says: {answer.error()}")
            raise answer.error()
        reference = Reference(job, array_tasks(submission.indices), submission.tag, tenant.user)
        self._staged.add(reference, second)
        if tenant.user not in self._users:
            if await self._is_nobodys(reference):
                await self._end(reference)
                raise Rejected(self._stranger(tenant, target))
            self._users.add(tenant.user)
        return str(reference)

    async def _is_nobodys(self, reference: Reference) -> bool:
        """Without AccountingStorageEnforce 22.05 and 24.11 take a job of a user whom slurmctld doesn't know, and never start it.

        Raises OutcomeUnknown.
        """
        try:
            answer = await self._rest.read(f"job/{reference.job}")
            with readable():
                return any(plain(job["user_id"]) == NOBODY for job in answer.content["jobs"])
        except Unavailable as error:
            raise OutcomeUnknown(f"it was staged, and whose it is can't be read: {error}") from error

    def _stranger(self, tenant: Tenant, target: Target) -> str:
        """Whom Slurm doesn't know, which fields say so, and what the centre has to do."""
        named = {
            "the offering's target": target.account,
            "the tenant's mapping": tenant.account,
            "the site's settings": self._settings.account,
        }
        accounts = (f"the account {account} (`account` of {where})" for where, account in named.items() if account)
        return (
            f"Slurm doesn't know the Unix user {tenant.user} (`user` of the tenant's mapping) with {next(accounts, 'an account')}: the "
            "centre has to make the user on slurmctld's machine and the nodes, and associate it by sacctmgr, or to correct the mapping"
        )

    async def _check(self, submission: Submission, target: Target, tenant: Tenant) -> None:
        """What Slurm would take now and never start. Raises Rejected, Unavailable."""
        folder = Path(self._settings.folder, tenant.user)
        if not await asyncio.to_thread(folder.is_dir):
            raise Rejected(
                f"the tenant's working folder {folder} isn't there: the centre has to make it, or to correct `user` of the tenant's mapping"
            )
        if clock.monotonic() - self._parts_at >= PARTS_SECONDS:
            await self._read_parts()
        grant = submission.grant
        gres = self._accelerators.gres(grant.accelerator) if grant.accelerator and grant.accelerators else None
        partition = target.partition or self._settings.partition
        reason = inventory.why_not(grant, limit_minutes(submission.resources), gres, partition, self._parts)
        if reason is not None:
            raise Rejected(reason)

    async def _read_parts(self) -> tuple[Part, ...]:
        partitions, nodes = await asyncio.gather(self._rest.read("partitions"), self._rest.read("nodes"))
        # without slurmdbd the partitions of 24.11 come with an error beside them
        for name, answer in (("partitions", partitions), ("nodes", nodes)):
            if answer.faults and not answer.content.get(name):
                raise answer.unavailable()
        with readable():
            self._parts = inventory.parts(partitions.content["partitions"], nodes.content["nodes"])
        self._parts_at = clock.monotonic()
        return self._parts

    async def release(self, reference: str) -> None:
        ours = await self._ours(reference)
        if ours is None:
            raise Rejected("there is no such submission, or it was discarded")
        answer = await self._rest.act("POST", f"job/{ours.job}", ours.user, {"hold": False})
        if not answer.faults:
            self._watch.released(reference)
            self._staged.remove(ours)
            return
        self._watch.touch(reference)
        if answer.says(OVER):
            seen = (await self._watch.observe([reference]))[reference]
            if isinstance(seen, NotSeen) or not seen.released:
                raise Rejected("it was cancelled before it was released")
        else:
            raise answer.error()
        self._staged.remove(ours)

    async def cancel(self, reference: str) -> None:
        ours = await self._ours(reference)
        if ours is not None:
            await self._end(ours)

    async def discard(self, reference: str) -> None:
        """Nobody releases what wasn't committed, so what is held when it is looked at still is when it is cancelled."""
        ours = Reference.parse(reference)
        if ours is None or self._watch.dropped(reference):
            return
        self._watch.touch(reference)
        seen = (await self._watch.observe([reference]))[reference]
        if isinstance(seen, Seen) and not seen.released:
            if not seen.ended:
                await self._end(ours)
            self._watch.drop(reference)
            self._staged.remove(ours)

    async def _ours(self, reference: str) -> Reference | None:
        """What the reference stands for, when Slurm's job of that id is it: ids come again. Raises Unavailable."""
        ours = Reference.parse(reference)
        if ours is None or self._watch.dropped(reference):
            return None
        if self._staged.has(ours):
            return ours
        seen = (await self._watch.observe([reference]))[reference]
        return ours if isinstance(seen, Seen) else None

    async def _end(self, ours: Reference) -> None:
        answer = await self._rest.act("DELETE", f"job/{ours.job}", ours.user)
        self._watch.touch(str(ours))
        if answer.faults and not answer.says(GONE | OVER):
            error = answer.error()
            raise Unavailable(str(error)) if isinstance(error, Rejected) else error
        self._staged.remove(ours)

    async def observe(self, references: Sequence[str]) -> Mapping[str, Seen | NotSeen]:
        return await self._watch.observe(references)

    async def changed(self, since: float | None) -> Sequence[str] | None:
        """Of what was observed before by this backend; all, when nothing is said of the last time."""
        return None if since is None else await self._watch.changed()

    async def staged(self) -> Sequence[Staged]:
        return await self._staged.all()

    async def read_log(self, reference: str, index: int, stream: str, offset: int, limit: int) -> LogBytes:
        ours = Reference.parse(reference)
        kind = {"stdout": "out", "stderr": "err"}.get(stream)
        if ours is None or kind is None:
            raise FileNotFoundError(f"no {stream} of {reference}")
        # asked before the bytes are read: what has ended writes no more
        ended = await self._has_ended(reference, index)
        folder = Path(self._settings.folder, ours.user)
        return await asyncio.to_thread(output.read, folder, ours.output(index, kind), offset, limit, ended=ended)

    async def _has_ended(self, reference: str, index: int) -> bool:
        if self._watch.dropped(reference):
            return True
        try:
            seen = (await self._watch.observe([reference]))[reference]
        except Unavailable as error:
            log.warning("slurm_log_of_unknown_state", reference=reference, reason=str(error))
            return False
        runs = [run for run in seen.runs if run.index == index] if isinstance(seen, Seen) else []
        return bool(runs) and all(run.ended_at is not None for run in runs)

    async def forget(self, reference: str) -> None:
        """Slurm forgets by itself."""
        self._watch.drop(reference)

    async def books(self, start: datetime, end: datetime) -> Books:
        return Books(await self._booked.between(start, end), keeps_all=True)


@asynccontextmanager
async def open_site(context: SiteContext) -> AsyncIterator[SlurmBackend]:
    """Check the settings and the secrets; slurmrestd itself may be away. Raises SiteRefused."""
    try:
        settings = Settings.model_validate(dict(context.settings))
    except ValidationError as error:
        raise SiteRefused(f"the site's settings are wrong: {said(error)}") from error
    if not await asyncio.to_thread(Path(settings.folder).is_dir):
        raise SiteRefused(
            f"the folder {settings.folder} isn't there: the agent must see the filesystem that the nodes share"
        )
    source = await asyncio.to_thread(tokens.source, settings.token, context.secrets)
    models = {name: told.accelerator for name, told in settings.partitions.items() if told.accelerator is not None}
    rest = Rest(settings.url, tokens.Tokens(source), settings.user, settings.timeout_seconds)
    backend = SlurmBackend(context.site, settings, Accelerators(context.accelerators, models), rest)
    try:
        yield backend
    finally:
        await backend.close()
        await rest.close()
