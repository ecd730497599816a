"""What was told until now, by bench/city/README.md: the newest of each thing, whatever came twice, late or in another order."""

from dataclasses import dataclass, field
from typing import Any

from bench.city.independent.reading import Fact, fen, seconds
from bench.city.independent.windows import PriceList

Units = tuple[tuple[str, str | None, int], ...]
"""What is held in a second: (component, accelerator, how many)."""
Spans = tuple[tuple[int, int, Units], ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """What one run may hold (docs/prices.md, "Who bears what")."""

    units: dict[str, int]
    max_seconds: int


@dataclass(frozen=True, slots=True)
class Side:
    """Who buys an attempt's seconds from whom, and by which prices they were placed."""

    organization: str
    project: str
    seller: str
    provider: str
    offering: str
    price_list: str
    price_class: str | None
    options: dict[str, Any]


@dataclass(slots=True)
class Attempt:
    """One try of a job: `direct` is what its organization buys, `wholesale` how a reseller buys the same."""

    id: str
    direct: Side
    wholesale: Side | None
    grant: Grant | None
    preempted_borne_by: str
    ended: bool = False


@dataclass(slots=True)
class Run:
    """What a run held, hour by hour, and how it ended."""

    id: str
    attempt: str
    hours: dict[int, tuple[int, Spans]] = field(default_factory=dict)
    outcome: str | None = None
    upheld: bool = False


@dataclass(slots=True)
class Settlement:
    """Of `job.settled`: what has to be told before the rest of the hold is free."""

    hold_revision: int
    hours: dict[str, dict[int, int]]


@dataclass(slots=True)
class Job:
    """A job with its holds in fen; `wholesale_hold` is the reseller's."""

    id: str
    attempts: dict[str, Attempt] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    revision: int = 0
    buyer: str | None = None
    hold: int = 0
    reseller: str | None = None
    wholesale_hold: int = 0
    settlement: Settlement | None = None

    def settled(self) -> bool:
        """Whether all that the broker listed was told."""
        listed = self.settlement
        if listed is None or listed.hold_revision > self.revision:
            return False
        return all(
            run in self.runs and self.runs[run].hours.get(hour, (-1, ()))[0] >= revision
            for run, hours in listed.hours.items()
            for hour, revision in hours.items()
        )


@dataclass(slots=True)
class Correction:
    """Seconds in [starts, ends) of what was placed by one of `replaces` (None: by any) are priced by `price_list`."""

    id: str
    offering: str
    starts: int
    ends: int
    price_list: str
    replaces: frozenset[str] | None


@dataclass(slots=True)
class Contest:
    """A provider contests a run; `outcome` is as it was known then."""

    id: str
    run: str
    outcome: str | None
    state: str = "open"


@dataclass(slots=True)
class World:
    """All of it. `dirty` are the jobs whose lines may have changed."""

    jobs: dict[str, Job] = field(default_factory=dict)
    job_of_attempt: dict[str, str] = field(default_factory=dict)
    job_of_run: dict[str, str] = field(default_factory=dict)
    lists: dict[str, PriceList] = field(default_factory=dict)
    catalog_rates: dict[str, int] = field(default_factory=dict)
    jobs_of_offering: dict[str, set[str]] = field(default_factory=dict)
    corrections: list[Correction] = field(default_factory=list)
    proposed: dict[str, Correction] = field(default_factory=dict)
    contests: dict[str, Contest] = field(default_factory=dict)
    deposits: dict[str, tuple[str, int]] = field(default_factory=dict)
    credit: dict[str, int] = field(default_factory=dict)
    tax_rules: list[Fact] = field(default_factory=list)
    fee_agreements: list[Fact] = field(default_factory=list)
    credit_notes: dict[str, Fact] = field(default_factory=dict)
    dirty: set[str] = field(default_factory=set)
    units: dict[tuple[int, int, int, int, str | None], Units] = field(default_factory=dict)

    def event(self, kind: str, data: Fact) -> None:
        """Take in what the catalog or the broker says."""
        match kind:
            case "usage.stated":
                self._usage(data)
            case "attempt.placed":
                self._placed(data)
            case "run.final":
                self._run(data["job"], data["attempt"], data["run"]).outcome = data["outcome"]
                self.dirty.add(data["job"])
            case "attempt.ended":
                self.job(data["job"]).attempts[data["attempt"]].ended = True
                self.dirty.add(data["job"])
            case "job.settled":
                hours = {
                    run["run"]: {seconds(hour): revision for hour, revision in run["hours"].items()}
                    for run in data["runs"]
                }
                self.job(data["job"]).settlement = Settlement(data["hold_revision"], hours)
            case "price_list.changed":
                if data["id"] not in self.lists:
                    self.lists[data["id"]] = PriceList.read(data)
            case "provider.changed":
                self.catalog_rates[data["id"]] = data.get("tax_rate", 600)

    def job(self, id: str) -> Job:
        """A job, which is made where it is first heard of."""
        found = self.jobs.get(id)
        if found is None:
            found = self.jobs[id] = Job(id)
        return found

    def _run(self, job: str, attempt: str, id: str) -> Run:
        runs = self.job(job).runs
        if id not in runs:
            runs[id] = Run(id, attempt)
            self.job_of_run[id] = job
        return runs[id]

    def _usage(self, data: Fact) -> None:
        """A higher revision replaces the hour; the same again or an earlier one changes nothing."""
        run = self._run(data["job"], data["attempt"], data["run"])
        hour = seconds(data["hour"])
        known = run.hours.get(hour)
        if known is not None and known[0] >= data["revision"]:
            return
        spans = tuple((seconds(span["start"]), seconds(span["end"]), self._units(span)) for span in data["spans"])
        run.hours[hour] = (data["revision"], spans)
        self.dirty.add(data["job"])

    def _units(self, span: Fact) -> Units:
        cards = span.get("accelerators") or 0
        shape = (span["nodes"], span["cpus"], span["memory_mib"], cards, span.get("accelerator") if cards else None)
        known = self.units.get(shape)
        if known is None:
            nodes, cpus, memory, cards, accelerator = shape
            held = (
                ("node_hour", None, nodes),
                ("cpu_core_hour", None, cpus),
                ("memory_gib_hour", None, memory),
                ("accelerator_hour", accelerator, cards),
            )
            known = self.units[shape] = tuple(unit for unit in held if unit[2] > 0)
        return known

    def _placed(self, data: Fact) -> None:
        job = self.job(data["job"])
        if data["attempt"] in job.attempts:
            return
        provider, offering, resale = data["provider"], data["offering"], data.get("resale")
        direct = Side(
            data["organization"],
            data["project"],
            resale["reseller"] if resale else provider,
            provider,
            offering,
            data["price_list"],
            data.get("price_class"),
            data.get("options") or {},
        )
        wholesale = resale and Side(
            resale["reseller"],
            resale["project"],
            provider,
            provider,
            offering,
            resale["price_list"],
            resale.get("price_class"),
            resale.get("options") or {},
        )
        raw = data.get("grant")
        grant = raw and Grant(
            {
                "node_hour": raw["nodes"],
                "cpu_core_hour": raw["cpus"],
                "memory_gib_hour": raw["memory_mib"],
                "accelerator_hour": raw.get("accelerators") or 0,
            },
            raw["max_seconds"],
        )
        preempted = data.get("preempted_borne_by", "provider")
        job.attempts[data["attempt"]] = Attempt(data["attempt"], direct, wholesale or None, grant or None, preempted)
        self.job_of_attempt[data["attempt"]] = job.id
        self.jobs_of_offering.setdefault(offering, set()).add(job.id)

    def request(self, operation: str, fact: Fact) -> None:
        """Take in what accounting was asked and granted; periods and previews are not of this."""
        body, path, answer = fact.get("body") or {}, fact.get("path") or {}, fact.get("answer") or {}
        match operation:
            case "record_deposit":
                self.deposits.setdefault(body["reference"], (body["organization"], fen(body["amount"])))
            case "set_credit_limit":
                self.credit[path["organization"]] = fen(body["amount"])
            case "post_tax_rule":
                self.tax_rules.append(body)
            case "make_fee_agreement":
                if body.get("due", "at_close") != "at_close":
                    raise ValueError("fees that are due when paid aren't reckoned here")
                self.fee_agreements.append(body | {"id": answer["id"]})
            case "put_hold":
                self._hold(self.job(path["job"]), body)
            case "propose_price_correction":
                replaces = None if body["replaces"] == "all" else frozenset(body["replaces"])
                span = seconds(body["starts_at"]), seconds(body["ends_at"])
                correction = Correction(answer["id"], body["offering"], *span, body["price_list"], replaces)
                self.proposed.setdefault(answer["id"], correction)
            case "approve_price_correction":
                self._approve(self.proposed[path["correction"]])
            case "contest_run":
                job = self.job(self.job_of_run[body["run"]])
                contest = Contest(answer["id"], body["run"], job.runs[body["run"]].outcome)
                self.contests.setdefault(answer["id"], contest)
            case "decide_contest":
                self._decide(self.contests[path["contest"]], body["decision"])
            case "issue_credit_note":
                self.credit_notes.setdefault(answer["id"], body)

    def _hold(self, job: Job, body: Fact) -> None:
        """A higher revision replaces the amounts."""
        if body["revision"] <= job.revision:
            return
        resale = body.get("resale")
        job.revision, job.buyer, job.hold = body["revision"], body["organization"], fen(body["amount"])
        job.reseller = resale["organization"] if resale else None
        job.wholesale_hold = fen(resale["amount"]) if resale else 0
        self.dirty.add(job.id)

    def _approve(self, correction: Correction) -> None:
        if correction not in self.corrections:
            self.corrections.append(correction)
            self.dirty |= self.jobs_of_offering.get(correction.offering, set())

    def _decide(self, contest: Contest, decision: str) -> None:
        contest.state = "upheld" if decision == "uphold" else "dismissed"
        if decision == "uphold":
            job = self.job_of_run[contest.run]
            self.jobs[job].runs[contest.run].upheld = True
            self.dirty.add(job)
