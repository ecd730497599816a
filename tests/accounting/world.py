"""A small world around accounting: feeds that tests fill by hand, and builders of what the catalog and the broker would say."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
from pydantic import BaseModel

from caravan.contracts import events
from caravan.contracts.anomalies import AnomalyReason, DoubtedUsage
from caravan.contracts.funds import DepositDraft, HoldBatch, HoldRequest, HoldUse, JobHoldRequest, ResaleHold
from caravan.contracts.jobs import Outcome
from caravan.contracts.modes import SiteMode, SiteModeFrom
from caravan.contracts.offerings import Capacity, Limits, Offering, OfferingState, Tier
from caravan.contracts.parties import Organization, Project, Provider, ProviderKind, ProviderState
from caravan.contracts.prices import Component, PriceList, Tariff, VolumeTier
from caravan.contracts.usage import (
    AttemptEnded,
    AttemptPlaced,
    JobNamed,
    JobSettled,
    RunFinal,
    RunUsage,
    SiteProgress,
    Span,
    UsageRecord,
)
from caravan.kernel import clock, ids
from caravan.kernel.database import Database
from caravan.kernel.follow import Follower, parked_count
from caravan.kernel.money import Money
from caravan.kernel.runtime import Runtime
from services.accounting.charging import recomputing
from services.accounting.charging.charger import Charger
from services.accounting.funds.verify import verify
from services.accounting.usage import copies
from services.accounting.usage.facts import Facts
from services.accounting.usage.following import handlers
from tests.support import Json, Running, ok

T0 = datetime(2026, 3, 10, 8, tzinfo=UTC)
"""A full hour in March, also in Shanghai."""


def at(second: int) -> datetime:
    """`second` seconds after T0."""
    return T0 + timedelta(seconds=second)


class Feed:
    """A feed in memory, as a follower sees it."""

    def __init__(self, source: str, now: clock.Clock = clock.now) -> None:
        self.source = source
        self.now = now
        self.events: list[dict[str, Any]] = []
        self.shown: int | None = None
        """How many of them there are yet, for a test that lets them come one by one; None: all."""

    def say(self, type_: str, subject: str, data: BaseModel) -> None:
        self.events.append(
            {
                "specversion": "1.0",
                "id": ids.new("evt"),
                "source": self.source,
                "type": type_,
                "subject": subject,
                "time": self.now().isoformat(),
                "data": data.model_dump(mode="json", by_alias=True),
                "position": len(self.events) + 1,
            }
        )

    async def feed(self, after: str | None, wait: float) -> tuple[list[dict[str, Any]], str]:
        start = int((after or "g:0").partition(":")[2])
        events = self.events[start : self.shown]
        return events, f"g:{start + len(events)}"

    async def snapshot(self, start_after: str | None) -> tuple[str, list[dict[str, Any]], str | None]:
        return "g:0", [], None


class Job:
    """A job of the world, with one attempt."""

    def __init__(self, world: "World", organization: str, project: str) -> None:
        self.world = world
        self.id = ids.new("job")
        self.attempt = ids.new("att")
        self.organization, self.project = organization, project
        self.revision = 0
        self._began: dict[str, int] = {}

    async def hold(
        self,
        amount: str,
        *,
        revision: int | None = None,
        submitted_at: datetime = T0,
        resale: ResaleHold | None = None,
        ahead: tuple[HoldUse, ...] = (),
    ) -> Json:
        """Ask for `amount` in all; gives the answer."""
        self.revision = revision or self.revision + 1
        return ok(await self.world.put_hold(self, self.revision, amount, submitted_at, resale, ahead))

    def place(self, price_list: str | None = None, provider: str | None = None, **prices_go_by: Any) -> None:
        attempt = AttemptPlaced(
            attempt=self.attempt,
            job=self.id,
            organization=self.organization,
            project=self.project,
            offering=self.world.offering,
            site=self.world.site,
            provider=provider or self.world.provider,
            price_list=price_list or self.world.price_list,
            **prices_go_by,
        )
        self.world.broker.say(events.ATTEMPT_PLACED, self.id, attempt)
        self.world.broker.say(events.JOB_NAMED, self.id, JobNamed(job=self.id, name="a job"))

    def use(
        self,
        run: str,
        start: int,
        end: int,
        *,
        cpus: int = 1,
        revision: int = 1,
        began: int | None = None,
        identity: str | None = None,
        index: int | None = None,
    ) -> None:
        """State that `run` had `cpus` from `start` to `end` seconds after T0; both in one hour. Empty where they are equal.

        It started at `began`: as was said before, or else at its first `start`.
        """
        self._began[run] = self._began.get(run, start) if began is None else began
        hour = clock.floor_hour(at(start))
        record = UsageRecord(
            hour=hour,
            revision=revision,
            spans=(span(start, end, cpus),) if end > start else (),
            run=run,
            attempt=self.attempt,
            job=self.id,
            run_started_at=at(self._began[run]),
            backend_identity=identity,
            index=index,
        )
        self.world.broker.say(events.USAGE_STATED, self.id, record)

    def doubt(
        self,
        run: str,
        start: int,
        end: int,
        reason: AnomalyReason = AnomalyReason.AFTER_END,
        *,
        revision: int = 1,
        identity: str | None = None,
    ) -> None:
        """As `use`, told by a broker that knows better."""
        self.use(run, start, end, revision=revision, identity=identity)
        stated = self.world.broker.events.pop()
        doubted = DoubtedUsage(usage=UsageRecord.model_validate(stated["data"]), reason=reason)
        self.world.broker.say(events.USAGE_DOUBTED, self.id, doubted)

    def end(self, run: str, outcome: Outcome = Outcome.SUCCEEDED) -> None:
        final = RunFinal(run=run, attempt=self.attempt, job=self.id, outcome=outcome)
        self.world.broker.say(events.RUN_FINAL, self.id, final)

    def end_attempt(self) -> None:
        """The books of all its runs are closed."""
        self.world.broker.say(events.ATTEMPT_ENDED, self.id, AttemptEnded(attempt=self.attempt, job=self.id))

    def settle(self, runs: dict[str, dict[str, int]]) -> None:
        """`runs`: run -> hour -> last revision."""
        listed = tuple(RunUsage(run=run, hours=hours) for run, hours in runs.items())
        settled = JobSettled(job=self.id, hold_revision=max(self.revision, 1), runs=listed)
        self.world.broker.say(events.JOB_SETTLED, self.id, settled)

    async def read(self) -> Json:
        """The hold as it stands."""
        return ok(await self.world.finance.get(f"/holds/{self.id}"))

    async def lines(self, **filters: str) -> Sequence[Json]:
        """The job's lines as stored."""
        return list(ok(await self.world.finance.get("/lines", job=self.id, limit=200, **filters))["items"])


def span(start: int, end: int, cpus: int = 1) -> Span:
    return Span(start=at(start), end=at(end), nodes=1, cpus=cpus, memory_mib=0)


def hour_of(second: int) -> str:
    """The hour of a second after T0, as the broker writes it."""
    return clock.floor_hour(at(second)).isoformat().replace("+00:00", "Z")


class World:
    """One organization, one project, one seller, one offering at 36.00 a core-hour: 0.01 a core-second."""

    def __init__(self, service: Running, now: clock.Clock = clock.now) -> None:
        self.service = service
        runtime: Runtime = service.app.provided[Runtime]
        self.db: Database = runtime.db
        self.catalog, self.broker = Feed("catalog"), Feed("broker", now)
        self.facts = Facts(now)
        self._followers = (
            Follower(self.db, "catalog", self.catalog, copies.HANDLERS),
            Follower(self.db, "broker", self.broker, handlers(now)),
        )
        self._charger = Charger(self.db, runtime.owner.id, clock.now)
        self.finance = service.person("finance", "platform:finance")
        self.organization, self.project = ids.new("org"), ids.new("prj")
        self.provider, self.site, self.offering = ids.new("prv"), ids.new("sit"), ids.new("off")
        self.price_list = ids.new("prl")
        self.member = service.person("member", f"org/{self.organization}:member")
        self.admin = service.person("admin", f"org/{self.organization}:admin")
        self.seller = service.person("seller", f"provider/{self.provider}:admin")
        self._broker_person = service.person("service:broker", "service:broker")

    async def open(self) -> None:
        self.know_organization(self.organization, self.project)
        self.know_provider(self.provider)
        self.know_prices(self.price_list, 1, tariff("day", None, None, cpu_core_hour="36.00"))
        await self.deliver()

    def know_organization(self, organization: str, project: str) -> None:
        entity = Organization(id=organization, name="Qinling Materials", version=1, created_at=T0)
        self.catalog.say(events.ORGANIZATION, organization, entity)
        own = Project(id=project, organization=organization, name="alloys", version=1, created_at=T0)
        self.catalog.say(events.PROJECT, project, own)

    def know_provider(self, provider: str) -> None:
        entity = Provider(
            id=provider,
            name="Xi'an Centre",
            kind=ProviderKind.COMPUTE_INFRASTRUCTURE,
            region="Xi'an",
            state=ProviderState.APPROVED,
            version=1,
            created_at=T0,
        )
        self.catalog.say(events.PROVIDER, provider, entity)
        offering = Offering(
            id=self.offering,
            provider=provider,
            site=self.site,
            name="cpu",
            tier=Tier.HPC,
            target={},
            limits=Limits(nodes=1, cpus_per_node=64, memory_mib_per_node=1024, walltime_seconds=86400),
            capacity=Capacity(cpus=64, memory_mib=1024),
            state=OfferingState.ACTIVE,
            version=1,
            created_at=T0,
        )
        self.catalog.say(events.OFFERING, self.offering, offering)

    def know_prices(
        self,
        price_list: str,
        revision: int,
        *tariffs: Tariff,
        created_at: datetime = T0,
        modes: tuple[SiteModeFrom, ...] = (),
        volume: dict[Component, tuple[VolumeTier, ...]] | None = None,
        reseller: str | None = None,
    ) -> None:
        entity = PriceList(
            id=price_list,
            offering=self.offering,
            reseller=reseller,
            revision=revision,
            created_at=created_at,
            tariffs=tuple(tariffs),
            modes=modes,
            volume_discounts=volume or {},
        )
        self.catalog.say(events.PRICE_LIST, price_list, entity)

    def progress(self, second: int, version: int) -> None:
        state = SiteProgress(site=self.site, provider=self.provider, complete_through=at(second), version=version)
        self.broker.say(events.SITE_PROGRESS, self.site, state)

    async def deliver(self) -> None:
        """Let accounting follow both feeds, and charge."""
        await self.follow()
        while await self._charger.charge():
            pass

    async def follow(self) -> None:
        """Let accounting follow both feeds to their ends, and try again what was parked."""
        for follower in self._followers:
            await follower.iteration(0)
        await self._followers[1].retry()

    async def parked(self) -> int:
        return await self.db.read(parked_count)

    async def deposit(self, amount: str, organization: str | None = None) -> Json:
        draft = DepositDraft(
            organization=organization or self.organization, amount=Money.parse(amount), reference=ids.new("dep")
        )
        return ok(await self.finance.post("/deposits", draft, {"Idempotency-Key": draft.reference}), 201)

    async def put_hold(
        self,
        job: Job,
        revision: int,
        amount: str,
        submitted_at: datetime = T0,
        resale: ResaleHold | None = None,
        ahead: tuple[HoldUse, ...] = (),
    ) -> Any:
        request = HoldRequest(
            revision=revision,
            organization=job.organization,
            project=job.project,
            amount=Money.parse(amount),
            submitted_at=submitted_at,
            resale=resale,
            ahead=ahead,
        )
        return await self._broker_person.put(f"/holds/{job.id}", request)

    async def put_holds(self, *asked: tuple[Job, int, str]) -> Any:
        """Many at once, each a job, a revision and an amount."""
        holds = [
            JobHoldRequest(
                job=job.id,
                revision=revision,
                organization=job.organization,
                project=job.project,
                amount=Money.parse(amount),
                submitted_at=T0,
            )
            for job, revision, amount in asked
        ]
        return await self._broker_person.post("/holds:batch", HoldBatch(holds=tuple(holds)))

    def job(self, organization: str | None = None, project: str | None = None) -> Job:
        return Job(self, organization or self.organization, project or self.project)

    async def funds(self) -> Json:
        return ok(await self.finance.get(f"/funds/{self.organization}"))

    async def metrics(self) -> str:
        """In the Prometheus text format."""
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.service.app), base_url="http://a") as client:
            return (await client.get("/metrics")).text

    async def consistent(self) -> None:
        """Every total equals what it sums up, and every line what its usage comes to."""
        assert await self.db.read(verify) == []
        assert await self.db.read(lambda tx: list(recomputing.verify(tx))) == []
        assert ok(await self.finance.get("/ledger/trial-balance"))["sum"] == "0.00"


def mode(name: str, start: int) -> SiteModeFrom:
    """From `start` seconds after T0 on."""
    return SiteModeFrom(mode=SiteMode(name), starts_at=at(start))


def tariff(name: str, start: int | None, end: int | None, **prices: str) -> Tariff:
    """Prices from `start` to `end` seconds after T0; None: long before, or open."""
    return Tariff(
        name=name,
        starts_at=at(start) if start is not None else T0 - timedelta(days=365),
        ends_at=None if end is None else at(end),
        prices={Component(component): Decimal(price) for component, price in prices.items()},
    )
