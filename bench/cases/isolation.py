"""Nobody sees or changes another's things: a walk over every operation of the three schemas, and a look around from inside a job."""

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import httpx

from bench.case import Trial, Verdict, case
from bench.platform import SERVICES, Market, Platform, eventually, open_market, until
from caravan.client import each
from caravan.contracts.corrections import CorrectionDraft
from caravan.contracts.credit_notes import CreditNoteDraft
from caravan.contracts.funds import BudgetDraft, DepositDraft
from caravan.contracts.parties import OrganizationDraft, ProjectDraft, ProviderDraft, ProviderKind, TenantDraft
from caravan.contracts.programmes import Enterprise, EnterpriseSize, Issuer, IssuerLevel, Pool, ProgrammeDraft, Rate
from caravan.contracts.resale import ResaleAgreementDraft
from caravan.contracts.spec import JobSpec, Resources
from caravan.contracts.statements import PeriodCut
from caravan.contracts.vouchers import ReviewDraft, VoucherApplicationDraft
from caravan.kernel import clock
from caravan.kernel.money import Money
from caravan.kernel.settings import ServiceName

PUBLIC: Final = frozenset(
    {
        "list_providers",
        "get_provider",
        "list_accelerators",
        "search_offerings",
        "get_offering",
        "list_price_lists",
        "get_price_list",
        "explain_price",
        "list_calendars",
        "get_calendar",
        "list_site_modes",
        "list_periods",
        "get_period",
        "list_programmes",
        "get_programme",
    }
)
"""What every valid token may read: the shop window, programmes that are published, and when periods end."""
OWN: Final = frozenset({"apply_provider", "add_accelerator", "explain_price"})
"""What changes nothing of anybody else's."""
QUERIES: Final = {
    "get_work": "epoch=1",
    "get_wanted_books": "epoch=1",
    "release_lease": "epoch=1",
    "list_holds": "job={job}",
    "list_site_runs": "from=2026-01-01T00:00:00Z&to=2100-01-01T00:00:00Z",
    "get_programme_payments": "period={per}",
    "sum_usage": "by=month&from=2026-01-01&to=2028-01-01",
}
"""What an operation isn't answered without."""
BODIES: Final = {
    "report": {
        "epoch": 1,
        "items": [{"type": "attempt", "attempt": "att_" + "0" * 32, "observation": 1, "state": "gone"}],
    },
    "answer_log_read": {"epoch": 1, "data": "", "offset": 0, "size": 0, "complete": True},
}
"""Instead of the example in the schema."""
UNSEEN: Final = frozenset(
    {
        "get_log_read",
        "get_contest",
        "get_reimbursement",
        "get_reimbursement_evidence",
        "list_reimbursed_lines",
    }
)
"""Shows nothing to anybody, as the walk asks."""
ID: Final = re.compile(r"\A([a-z]{3})_[0-9a-f]{32}\Z")
MARK: Final = "xi-an-secret-7c1f"
EVIDENCE: Final = "licence.csv"


@dataclass(frozen=True)
class Victim:
    """What belongs to somebody else: an id of every kind, and the words that must never be seen."""

    market: Market
    ids: dict[str, str]
    private: tuple[str, ...]


@dataclass(frozen=True)
class Operation:
    service: ServiceName
    method: str
    path: str
    name: str
    body: Any


@case(
    "isolation",
    claim="No member of another organization, no other centre and no other agent sees or changes a thing, by any operation; "
    "one tenant's job can't read another's folder",
    goal="0 leaks, 0 changes",
)
def isolation(trial: Trial) -> Verdict:
    return asyncio.run(_isolation(trial))


async def _isolation(trial: Trial) -> Verdict:
    trial.folder.chmod(0o755)
    leaks: list[str] = []
    unproven: list[str] = []
    async with Platform(trial.folder).start() as platform, httpx.AsyncClient(timeout=60) as http:
        market = await open_market(platform)
        victim = await the_victim(platform, market)
        operations = [operation for service in SERVICES for operation in await read_operations(http, platform, service)]
        admin = await platform.catalog("platform:admin")
        other = (await admin.create_organization(OrganizationDraft(name="Another"))).id
        rival = (await admin.apply_provider(ProviderDraft(name="Rival", kind=ProviderKind.OTHER, region="Xi'an"))).id
        await admin.approve_provider(rival)
        intruders = {
            "another organization's admin": (f"org/{other}:admin",),
            "another centre": (f"provider/{rival}:admin", f"site/{market.site.replace('0', '1', 1)}:agent"),
            "somebody without permissions": (),
        }
        before = await portrait(platform, victim)
        for who, permissions in intruders.items():
            headers = {"Authorization": f"Bearer {platform.token(*permissions, subject=who.replace(' ', '-'))}"}
            headers["Idempotency-Key"] = "x"
            for operation in operations:
                understood = False
                for path in paths(operation, victim):
                    url = platform.url(operation.service) + path
                    answer = await http.request(
                        operation.method,
                        url,
                        json=filled(operation.body, victim),
                        headers=headers | {"If-Match": '"1"'},
                    )
                    if fault := judged(operation, answer, victim):
                        leaks.append(f"{who}: {operation.method} {path}: {fault}")
                    understood |= answer.is_success or answer.json()["code"] not in ("invalid", "not_json")
                if not understood:
                    unproven.append(
                        f"{who}: {operation.method} {path} is refused for its form alone: {answer.text[:200]}"
                    )
        unproven += await blind_spots(http, platform, victim, operations)
        for fault in (*leaks, *unproven):
            trial.say(fault)
        changed = await portrait(platform, victim) != before
        looked = await look_around(trial, platform, market, other)
    return Verdict(
        not leaks and not changed and not looked and not unproven,
        f"{len(leaks)} leaks, {int(changed)} changes over {len(operations)} operations x {len(intruders)} intruders; "
        f"another tenant's job read {'its file' if looked else 'nothing'}",
        {"leaks": leaks, "unproven": unproven},
    )


async def blind_spots(
    http: httpx.AsyncClient, platform: Platform, victim: Victim, operations: Sequence[Operation]
) -> list[str]:
    """Of the same walk: what nobody is shown, so that intruders who aren't show nothing."""
    market = victim.market
    permissions = (
        f"org/{market.organization}:admin", f"provider/{market.provider}:admin", f"site/{market.site}:agent",
        "platform:finance", "platform:admin", "platform:programmes", *(f"service:{service}" for service in SERVICES),
    )  # fmt: skip
    headers = {"Authorization": f"Bearer {platform.token(*permissions)}"}
    spots, shown = [], ""
    for operation in operations:
        if operation.method == "GET" and operation.name not in UNSEEN:
            url = platform.url(operation.service)
            answers = [await http.get(url + path, headers=headers) for path in paths(operation, victim)]
            shown += "".join(answer.text for answer in answers if answer.is_success)
            # whose beginning is dropped by now, a feed says only to those who may read it
            if not any(answer.is_success or answer.json().get("code") == "cursor_gone" for answer in answers):
                spots.append(f"nobody may {operation.name}: {answers[0].status_code} {answers[0].text[:200]}")
    return spots + [f"nobody is shown {word}" for word in victim.private if word not in shown]


async def the_victim(platform: Platform, market: Market) -> Victim:
    """An organization with something of everything, a closed period with its statement included."""
    org = f"org/{market.organization}:admin"
    broker, money = await platform.broker(org), await platform.accounting(org)
    finance = await platform.accounting("platform:finance")
    now = clock.floor_second(clock.now())
    office = await platform.accounting("platform:programmes")
    programme = await office.create_programme(
        ProgrammeDraft(
            name="Vouchers",
            issuer=Issuer(name="A city", level=IssuerLevel.CITY),
            starts_at=now,
            ends_at=now + timedelta(days=30),
            pools=tuple(Pool(year=now.year + more, amount=Money(1_000_000)) for more in (0, 1)),
            rates=(Rate(rate=3000, use="filed_model"),),
        )
    )
    await office.publish_programme(programme.id, programme.version)
    application = await money.apply_for_voucher(
        VoucherApplicationDraft(
            programme=programme.id,
            organization=market.organization,
            enterprise=Enterprise(
                place="610113",
                industry="I65",
                size=EnterpriseSize.SMALL,
                registered_on=date(2024, 2, 29),
                clear_credit=True,
            ),
            use="filed_model",
            amount=Money(10_000),
        )
    )
    await money.store_voucher_evidence(application.id, EVIDENCE, f"{MARK}-evidence".encode())
    for reviewer in ("first-reviewer", "second-reviewer"):
        person = await platform.accounting("platform:programmes", subject=reviewer)
        read = await person.get_voucher_application(application.id)
        await person.review_voucher_application(application.id, ReviewDraft(passed=True, reason=MARK), read.version)
    voucher = await office.issue_voucher(application.id)
    spec = JobSpec(
        name=f"{MARK}-job",
        project=market.project,
        script=f"pwd; echo {MARK}-output; echo {MARK} > secret; chmod 600 secret; sleep 1",
        resources=Resources(walltime_seconds=20),
        labels={"for": MARK},
    )
    quote = await broker.create_quote(spec)
    budget = await money.create_budget(
        BudgetDraft(
            organization=market.organization,
            name=f"{MARK}-budget",
            limit=Money(10_000),
            starts_at=now,
        )
    )
    job = await broker.submit_job(spec)

    async def settled() -> bool:
        return (await broker.get_job(job.id)).settled_at is not None

    await until(settled, "the victim's job to end")
    (period,) = (await finance.list_periods()).items
    cut = clock.from_seconds(clock.to_seconds(clock.now()) + 1)
    await finance.cut_period(period.id, PeriodCut(at=cut))
    await asyncio.sleep(1.2)
    await finance.close_period(period.id)

    async def issued() -> list[str]:
        return [s.id for s in (await money.list_statements()).items]

    statement = (await until(issued, "the victim's statement"))[0]
    (task,) = (await broker.list_job_tasks(job.id)).items
    (deposit,) = (await finance.list_deposits()).items
    lines = (await money.list_lines(job=job.id)).items
    paid = next(line for line in lines if line.amount > Money(0))
    note = await finance.issue_credit_note(
        CreditNoteDraft(statement=statement, line=paid.id, amount=Money(1), reason=MARK)
    )
    correction = await finance.propose_price_correction(
        CorrectionDraft(
            offering=market.offering,
            starts_at=cut,
            ends_at=period.ends_at,
            price_list=market.price_list,
            replaces="all",
            reason=f"{MARK}-reason",
        )
    )
    admin = await platform.catalog("platform:admin")
    member = (await admin.create_organization(OrganizationDraft(name="A member"))).id
    agreement = await admin.create_resale_agreement(
        ResaleAgreementDraft(
            reseller=market.organization,
            project=market.project,
            members=(member,),
            starts_at=clock.floor_hour(clock.now()),
        )
    )
    (tenant,) = (await (await platform.catalog(f"provider/{market.provider}:admin")).list_tenants()).items
    ids = {
        "org": market.organization,
        "prj": market.project,
        "prv": market.provider,
        "sit": market.site,
        "off": market.offering,
        "prl": market.price_list,
        "ten": tenant.id,
        "quo": quote.id,
        "job": job.id,
        "att": task.attempt or "",
        "run": task.run or "",
        "bud": budget.id,
        "dep": deposit.id,
        "per": period.id,
        "stm": statement,
        "lin": lines[0].id,
        "crn": note.id,
        "cor": correction.id,
        "cts": "cts_" + "0" * 32,
        "prg": programme.id,
        "vap": application.id,
        "vou": voucher.id,
        "rei": "rei_" + "0" * 32,
        "rsl": agreement.id,
    }
    kinds = (
        "org",
        "prj",
        "rsl",
        "ten",
        "quo",
        "job",
        "att",
        "run",
        "bud",
        "dep",
        "stm",
        "lin",
        "crn",
        "cor",
        "vap",
        "vou",
    )
    hidden = [ids[kind] for kind in kinds]
    return Victim(market, ids, (*hidden, MARK, str(platform.folder / "site"), "opening"))


async def read_operations(http: httpx.AsyncClient, platform: Platform, service: ServiceName) -> list[Operation]:
    """All operations of a service, with the example of their body."""
    document = (await http.get(f"{platform.url(service)}/openapi.json")).json()
    found = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            name = operation["operationId"]
            found.append(Operation(service, method.upper(), path, name, BODIES.get(name, content.get("example"))))
    return found


def filled(value: Any, victim: Victim) -> Any:
    """The example with the victim's ids in it."""
    if isinstance(value, str) and (match := ID.match(value)):
        return victim.ids.get(match[1], value)
    if isinstance(value, dict):
        return {name: filled(inner, victim) for name, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, victim) for inner in value]
    return value


KINDS: Final = {
    "organization": "org",
    "project": "prj",
    "provider": "prv",
    "site": "sit",
    "offering": "off",
    "price_list": "prl",
    "tenant": "ten",
    "quote": "quo",
    "job": "job",
    "attempt": "att",
    "budget": "bud",
    "period": "per",
    "statement": "stm",
    "line": "lin",
    "credit_note": "crn",
    "correction": "cor",
    "contest": "cts",
    "agreement": "rsl",
    "programme": "prg",
    "application": "vap",
    "voucher": "vou",
    "reimbursement": "rei",
}


def paths(operation: Operation, victim: Victim) -> Iterator[str]:
    """The operation's path with the victim's ids; lists also with every filter that names the victim."""
    path = operation.path
    for name, kind in KINDS.items():
        path = path.replace(f"{{{name}}}", victim.ids[kind])
    path = (
        path.replace("{log_read}", "log_" + "0" * 32)
        .replace("{year}", "2026")
        .replace("{anomaly}", "ano_" + "0" * 32)
        .replace("{name}", EVIDENCE)
    )
    if "{" in path:
        raise ValueError(f"{operation.name} has a parameter that this walk doesn't know: {path}")
    asked = QUERIES.get(operation.name, "").format_map(victim.ids)
    yield f"{path}?{asked}"
    if operation.method == "GET" and operation.path == operation.path.split("{")[0]:
        for name, kind in KINDS.items():
            yield f"{path}?{asked}&{name}={victim.ids[kind]}"


def judged(operation: Operation, answer: httpx.Response, victim: Victim) -> str | None:
    """What is wrong with the answer, or None."""
    if answer.status_code == 401:
        return "401: whoever has no valid token shows nothing of what permissions hold back"
    if operation.name not in PUBLIC:
        seen = [word for word in victim.private if word in answer.text]
        if seen:
            return f"{answer.status_code}, shows {seen}"
    if done(operation, answer) and operation.method != "GET" and operation.name not in OWN:
        return f"{answer.status_code}, was done: {answer.text[:200]}"
    if answer.is_success and "{" in operation.path and operation.name not in PUBLIC | {"get_site"}:
        return f"{answer.status_code} for a thing of somebody else's: {answer.text[:200]}"
    return None


def done(operation: Operation, answer: httpx.Response) -> bool:
    """Whether it was done; of a batch, whether any of it was: each of its items has a status of its own."""
    if answer.is_success and operation.path.endswith(":batch"):
        return any(item["status"] < 300 for item in answer.json()["items"])
    return answer.is_success


async def portrait(platform: Platform, victim: Victim) -> str:
    """All that the victim and its centre see of their things."""
    org, prv = f"org/{victim.market.organization}:admin", f"provider/{victim.market.provider}:admin"
    catalog, broker, money = (
        await platform.catalog(org, prv),
        await platform.broker(org),
        await platform.accounting(org),
    )
    job, ids = victim.ids["job"], victim.ids
    seen = [
        await catalog.get_organization(ids["org"]),
        await catalog.get_project(ids["prj"]),
        await catalog.get_provider(ids["prv"]),
        await catalog.get_offering(ids["off"]),
        await catalog.get_tenant(ids["ten"]),
        await broker.get_quote(ids["quo"]),
        await broker.get_job(job),
        *[event async for event in each(broker.list_job_events, job)],
        await money.get_budget(ids["bud"]),
        await money.get_funds(ids["org"]),
        await money.get_hold(job),
        await money.get_statement(ids["stm"]),
        *[price_list async for price_list in each(catalog.list_price_lists, ids["off"])],
        *[one async for one in each(broker.list_jobs)],
    ]
    site = (await catalog.get_site(ids["sit"])).model_dump(mode="json", exclude={"health"})
    return json.dumps([site, *(one.model_dump(mode="json") for one in seen)], sort_keys=True)


async def look_around(trial: Trial, platform: Platform, market: Market, other: str) -> bool:
    """Another tenant's job goes looking for the victim's file. Whether it found it."""
    seller = await platform.catalog(f"provider/{market.provider}:admin")
    await seller.create_tenant(TenantDraft(site=market.site, organization=other))
    org = f"org/{other}:admin"
    project = await (await platform.catalog(org)).create_project(ProjectDraft(organization=other, name="Curious"))
    finance = await platform.accounting("platform:finance")
    money = DepositDraft(organization=other, amount=Money(10_000), reference="of the curious")
    await eventually(finance.record_deposit, money)
    broker = await platform.broker(org)
    site = platform.folder / "site"
    script = (
        f"ls -laR {site} 2>&1 | head -500; find / -xdev -name secret -maxdepth 9 2>/dev/null | head; "
        f"cat $(find {site} -name secret 2>/dev/null) {site}/*/*/secret {site}/*/*/*/secret 2>&1; "
        f"cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep {MARK[:5]}; ls {platform.data}; true"
    )
    spec = JobSpec(name="curious", project=project.id, script=script, resources=Resources(walltime_seconds=60))

    async def candidate() -> bool:
        return bool((await eventually(broker.create_quote, spec)).candidates)

    await until(candidate, "the other tenant to be let in")
    job = await broker.submit_job(spec)

    async def settled() -> bool:
        return (await broker.get_job(job.id)).settled_at is not None

    await until(settled, "the curious job to end")
    text = (await broker.read_job_log(job.id)).text
    trial.say(f"the curious job saw {len(text)} characters")
    return f"{MARK}\n" in text or f"{MARK}-" in text or ".db" in text
