"""Two organizations as two Unix users of one Slurm cluster: each tries to read what the other's job carries, in every way there is.

A job carries a secret word in its script, in its environment, in its name, in an argument of a program that it starts, and one that only
its output has. A leak is an answer that holds somebody else's word. Its owner asks in the same way: a way that shows nobody's word to
anybody shows nothing about leaks.
"""

import asyncio
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

import httpx

from bench.case import Trial, Verdict, case
from bench.demo.stages import Slurm
from bench.platform import Market, Platform, eventually, open_market, until
from caravan.client import BrokerClient
from caravan.contracts.funds import DepositDraft
from caravan.contracts.jobs import JobState
from caravan.contracts.parties import OrganizationDraft, ProjectDraft, TenantDraft
from caravan.contracts.spec import JobSpec, Resources
from caravan.kernel.money import Money
from tests.backends.slurm import RELEASES, Cluster, LeftOut, must_run
from tests.backends.slurm.cluster import running

KINDS: Final = ("script", "environment", "output", "name", "argument")
WORD: Final = "xian-[a-z]*-[a-z]*-[0-9a-f]*-end"
KEPT: Final = {"AccountingStoreFlags": "job_comment,job_env,job_script"}
"""The books hold scripts and environments: what could leak from them is there."""
PRIVATE: Final = {"PrivateData": "accounts,jobs,usage,users"}
"""As docs/slurm.md has a centre set it, in slurm.conf and slurmdbd.conf."""

SLURM: Final = {
    "scontrol show job": "scontrol show job -dd {job}",
    "scontrol write batch_script": "scontrol write batch_script {job} -",
    "squeue, all fields": "squeue --all --format=%all",
    "sacct, all fields": "sacct --allusers --parsable --starttime=now-1hour --format=$(sacct --helpformat | xargs | tr ' ' ,)",
    "sacct --batch-script": "sacct --jobs={job} --batch-script",
    "sacct --env-vars": "sacct --jobs={job} --env-vars",
    "srun into the job": "timeout 10 srun --jobid={job} --overlap find {folder} -type f -exec cat {{}} +",
}  # fmt: skip
FILES: Final = {
    "the tenant's folder": "ls -laR {folder}; find {folder} -type f -exec cat {{}} +",
    "its output": "cat {output}",
    "a symlink to it": "ln -sfn {output} {own}/link && cat {own}/link",
    "a symlink to the folder": "ln -sfn {folder} {own}/link && find {own}/link/ -type f -exec cat {{}} +",
    "a hard link to it": "ln -f {output} {own}/hard && cat {own}/hard",
    "slurmd's spool": "cat /run/slurm/n*/job*/*",
    "slurmctld's state": "cat /run/slurm/controller/* /run/slurm/controller/hash*/job*/*",
    "temporary folders, logs, settings": "grep -rhas xian- /tmp /var/tmp /dev/shm /run /var/log /etc/slurm",
}
PROCESSES: Final = {
    "/proc/*/environ": "cat /proc/[0-9]*/environ",
    "/proc/*/cmdline": "cat /proc/[0-9]*/cmdline",
    "/proc/*/fd": "for file in /proc/[0-9]*/fd/*; do test -f $file && cat $file; done",
    "/proc/*/cwd": "find /proc/[0-9]*/cwd/ -maxdepth 1 -type f -exec cat {{}} +",
}
ON_A_MACHINE: Final = {"Slurm": SLURM, "files": FILES, "processes": PROCESSES}
BY_REST: Final = (
    "slurm/{version}/job/{job}",
    "slurm/{version}/jobs/",
    "slurmdb/{version}/job/{job}",
    "slurmdb/{version}/jobs/?start_time=now-1hour",
)
BY_API: Final = {
    "broker": (
        "jobs", "quotes", "jobs/{id}", "jobs/{id}/tasks", "jobs/{id}/attempts", "jobs/{id}/events", "jobs/{id}/logs",
        "jobs/{id}/logs?stream=stderr",
    ),
    "accounting": ("lines", "lines?job={id}", "jobs/{id}/explanation", "holds/{id}", "lines?organization={organization}"),
}  # fmt: skip
PLANTED: Final = {
    "a symlink to the other's output": "ln -sfn {output} $out; ln -sfn {output} $err",
    "a symlink to a file of root's": "ln -sfn {root} $out; ln -sfn {root} $err",
    "a symlink to the other's folder": "ln -sfn {folder} $out; ln -sfn {folder} $err",
    "a hard link to the other's output": "ln -f {output} $out; ln -f {output} $err",
    "a symlink where its exit code goes": "ln -sfn {output} ${{out%.out}}.exit; kill -9 $PPID",
    "a pipe that nobody writes to": "rm $out $err; mkfifo $out $err",
}
"""What a job does to its own output before it goes on for some seconds."""
BRIEFLY: Final = ("a symlink to the other's output", "a symlink to a file of root's")
"""Of those, in the short form."""
MUST_BE_SEEN: Final = (
    ("Slurm", "script"), ("Slurm", "environment"), ("Slurm", "name"), ("files", "script"), ("files", "output"),
    ("processes", "environment"), ("processes", "argument"), ("slurmrestd", "name"), ("Caravan", "name"), ("Caravan", "output"),
    ("a job of one's own", "output"), ("a job of one's own", "environment"),
)  # fmt: skip
"""Place and kind: what an owner sees of its own there."""


@dataclass(frozen=True)
class Tenant:
    """An organization, its Unix user, and its job once it has started."""

    user: str
    organization: str
    project: str
    words: Mapping[str, str]
    """Kind -> word."""
    folder: Path
    job: str = ""
    slurm_job: str = ""
    output: str = ""


@dataclass(frozen=True)
class Row:
    place: str
    way: str
    owner: tuple[str, ...]
    """Kinds of words that their owner saw so."""
    other: tuple[str, ...]
    """Those that somebody else saw."""

    def __str__(self) -> str:
        seen = f"LEAK of {', '.join(self.other)}" if self.other else "nothing"
        return f"{self.place} | {self.way} | {seen} | its owner: {', '.join(self.owner) or 'nothing'}"


@case(
    "slurm-tenants",
    claim="Two organizations as two Unix users: neither can read the other's script, output or environment, at Slurm or through Caravan",
    goal="0 leaks; owners see all of theirs; what a centre leaves open is found",
)
def slurm_tenants(trial: Trial) -> Verdict:
    tables: dict[str, list[Row]] = {}
    opened: dict[str, list[Row]] = {}
    for release in RELEASES if trial.long else RELEASES[1:2]:
        try:
            with running(release, KEPT | PRIVATE) as cluster:
                tables[release.name], opened[f"{release.name}, folder open"] = asyncio.run(_kept_apart(trial, cluster))
            if trial.long:
                with running(release, KEPT) as cluster:
                    opened[f"{release.name}, as Slurm comes"] = asyncio.run(_as_slurm_comes(trial, cluster))
        except LeftOut as left_out:
            if must_run(release):
                raise
            trial.say(str(left_out))
    leaks = [f"{name}: {row}" for name, rows in tables.items() for row in rows if row.other]
    blind = [f"{name}: {kind} at {place}" for name, rows in tables.items() for place, kind in _unseen(rows)]
    missed = [name for name, rows in opened.items() if not any(row.other for row in rows)]
    for fault in (*leaks, *(f"its owner never saw: {one}" for one in blind), *(f"not found: {one}" for one in missed)):
        trial.say(fault)
    return Verdict(
        not leaks and not blind and not missed,
        f"{len(leaks)} leaks by {sum(map(len, tables.values()))} ways on {', '.join(tables) or 'no release'}; "
        f"{len(opened) - len(missed)} of {len(opened)} planted faults found; owners missed {len(blind)} of theirs",
        {name: [str(row) for row in rows] for name, rows in (tables | opened).items()},
    )


def _unseen(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    for place, kind in MUST_BE_SEEN:
        if not any(kind in row.owner for row in rows if row.place.startswith(place)):
            yield place, kind


async def _kept_apart(trial: Trial, cluster: Cluster) -> tuple[list[Row], list[Row]]:
    """All that was tried where a centre has set what it should; and what is found once a tenant's folder is open to all."""
    _keep_private(cluster)
    async with Stand(trial, cluster) as stand:
        rows = await stand.try_all("running")
        rows += await stand.plant()
        await stand.end()
        rows += await stand.try_all("ended")
        cluster.run("chmod", "-R", "o+rX", str(stand.tenants[0].folder))
        return rows, await stand.try_on_a_machine("folder open", {"files": FILES})


async def _as_slurm_comes(trial: Trial, cluster: Cluster) -> list[Row]:
    async with Stand(trial, cluster) as stand:
        rows = await stand.try_all("running, as Slurm comes")
        await stand.end()
        return [*rows, *await stand.try_all("ended, as Slurm comes")]


def _keep_private(cluster: Cluster) -> None:
    """What docs/slurm.md has a centre set outside slurm.conf."""
    with (cluster.etc / "slurmdbd.conf").open("a") as conf:
        conf.writelines(f"{name}={value}\n" for name, value in PRIVATE.items())
    cluster.run("sacctmgr", "--immediate", "reconfigure")
    cluster.run("mount", "-o", "remount,hidepid=2", "/proc")


class Stand:
    """A platform with the cluster as its site, and a job of each tenant at work there."""

    def __init__(self, trial: Trial, cluster: Cluster) -> None:
        self._trial, self._cluster = trial, cluster
        self._ends = ExitStack()
        self._stage = Slurm(cluster, self._ends)
        self._platform = Platform(trial.folder / f"{cluster.release}-{cluster.pid}")
        self._go = cluster.work / "go"
        self._root = trial.folder / "of-root"
        self._words: dict[str, tuple[str, str]] = {}
        """Word -> whose it is, and of what kind."""
        self.tenants: tuple[Tenant, ...] = ()

    async def __aenter__(self) -> "Stand":
        stage, platform = self._stage, self._platform
        try:
            platform.start()
            market = await open_market(
                platform, adapter=stage.adapter, cpus=32, site_settings=stage.settings, tenant=stage.tenant,
                target={"partition": "batch"}, start_agent=lambda site: stage.run_agent(site, platform),
            )  # fmt: skip
            other = await self._let_in(market, "bob")
            self._root.touch(0o600)
            self._root.write_text(self._word("root", "file") + "\n")
            begun = (("alice", market.organization, market.project), ("bob", *other))
            self.tenants = tuple([await self._started(*one) for one in begun])
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._ends.close()
        await self._platform.__aexit__()

    def _word(self, whose: str, kind: str) -> str:
        word = f"xian-{whose}-{kind}-{self._trial.random.getrandbits(64):016x}-end"
        self._words[word] = (whose, kind)
        return word

    async def _let_in(self, market: Market, user: str) -> tuple[str, str]:
        """A second organization, as `user`: its id and its project's."""
        self._cluster.run("install", "-d", "-m", "700", "-o", user, f"{self._stage.settings['folder']}/{user}")
        admin = await self._platform.catalog("platform:admin")
        organization = (await admin.create_organization(OrganizationDraft(name="Weihe Materials 渭河材料"))).id
        buyer = await self._platform.catalog(f"org/{organization}:admin")
        project = (await buyer.create_project(ProjectDraft(organization=organization, name="Alloys"))).id
        seller = await self._platform.catalog(f"provider/{market.provider}:admin")
        await seller.create_tenant(TenantDraft(site=market.site, organization=organization, settings={"user": user}))
        finance = await self._platform.accounting("platform:finance")
        money = DepositDraft(organization=organization, amount=Money.parse("10000.00"), reference="of the second")
        await eventually(finance.record_deposit, money)
        broker = await self._broker(organization)

        async def candidate() -> bool:
            return bool((await eventually(broker.create_quote, _spec(project, "true", "probe"))).candidates)

        await until(candidate, "the second organization to be let in")
        return organization, project

    async def _broker(self, organization: str) -> BrokerClient:
        return await self._platform.broker(f"org/{organization}:member")

    async def _started(self, user: str, organization: str, project: str) -> Tenant:
        words = {kind: self._word(user, kind) for kind in KINDS}
        first, last = words["output"][:12], words["output"][12:]
        script = (
            f"#!/bin/sh\n# {words['script']}\nprintf '%s%s\\n' {first} {last}\n"
            f"sh -c 'while ! test -e {self._go}; do sleep 0.2; done' {words['argument']}\n"
        )
        spec = _spec(project, script, words["name"], {"API_KEY": words["environment"]})
        broker = await self._broker(organization)
        job = (await broker.submit_job(spec)).id

        folder = Path(self._stage.settings["folder"], user)

        def files() -> list[Path]:
            return [file for file in folder.iterdir() if words["output"] in file.read_text()]

        async def said() -> list[Path]:
            return await asyncio.to_thread(files)

        (output,) = await until(said, f"{user}'s job to say something")
        queue = await asyncio.to_thread(self._cluster.run, "squeue", "--noheader", f"--user={user}", "--format=%A")
        return Tenant(user, organization, project, words, folder, job, queue.strip(), str(output))

    # Trying

    async def try_all(self, when: str) -> list[Row]:
        rows = await self.try_on_a_machine(when)
        rows += [await self._by_a_job(when)]
        return [*rows, *await self._by_rest(when), *await self._by_api(when)]

    async def try_on_a_machine(self, when: str, places: Mapping[str, Mapping[str, str]] = ON_A_MACHINE) -> list[Row]:
        rows = []
        for place, ways in places.items():
            for way, command in ways.items():
                answers = [
                    (by, await asyncio.to_thread(self._shell, by.user, _about(command, of, by)))
                    for by, of in product(self.tenants, repeat=2)
                ]
                rows.append(self._row(f"{place}, {when}", way, answers))
        return rows

    def _shell(self, user: str, command: str) -> str:
        """The words that a command gives the user."""
        return self._cluster.run("sh", "-c", _words_of(command), user=user)

    async def _by_a_job(self, when: str) -> Row:
        """Both tenants look around from inside a job that the platform started for them."""

        async def looked(by: Tenant) -> str:
            ways = [command for ways in ON_A_MACHINE.values() for command in ways.values()]
            told = "\n".join(_about(command, of, by) for of in self.tenants for command in ways)
            broker = await self._broker(by.organization)
            job = (await broker.submit_job(_spec(by.project, _words_of(told), "curious"))).id
            await self._settled(broker, job)
            return (await broker.read_job_log(job)).text

        answers = await asyncio.gather(*map(looked, self.tenants))
        return self._row(f"a job of one's own, {when}", "all of these", list(zip(self.tenants, answers, strict=True)))

    async def _by_rest(self, when: str) -> list[Row]:
        """As oneself, and with one's own token in the other's name."""
        rows = []
        async with httpx.AsyncClient(timeout=60) as http:
            versions = dict.fromkeys((self._cluster.api_versions[0], self._cluster.api_versions[-1]))
            for version, path in product(versions, BY_REST):
                answers = []
                for by, of in product(self.tenants, repeat=2):
                    url = f"{self._cluster.url}/{path.format(version=version, job=of.slurm_job)}"
                    own = self._cluster.headers(by.user)
                    for name in dict.fromkeys((by.user, of.user)):
                        answers.append((by, (await http.get(url, headers=own | {"X-SLURM-USER-NAME": name})).text))
                rows.append(self._row(f"slurmrestd, {when}", path.format(version=version, job="{id}"), answers))
        return rows

    async def _by_api(self, when: str) -> list[Row]:
        rows = []
        async with httpx.AsyncClient(timeout=60) as http:
            for service, path in ((service, path) for service, paths in BY_API.items() for path in paths):
                answers = []
                for by, of in product(self.tenants, repeat=2):
                    at = path.format(id=of.job, organization=of.organization)
                    token = self._platform.token(f"org/{by.organization}:admin")
                    headers = {"Authorization": f"Bearer {token}"}
                    url = f"{self._platform.url(service)}/v1/{at}"  # type: ignore[arg-type]
                    answers.append((by, (await http.get(url, headers=headers)).text))
                rows.append(self._row(f"Caravan, {when}", path, answers))
        return rows

    async def plant(self) -> list[Row]:
        """Jobs put something else where their output was, and their owners read it through the platform."""

        async def planted(by: Tenant, of: Tenant, command: str) -> str:
            told = _about(command, of, by, root=str(self._root))
            script = f"#!/bin/sh\nout=$(readlink /proc/$$/fd/1); err=$(readlink /proc/$$/fd/2)\n{told}\nsleep 2\n"
            broker = await self._broker(by.organization)
            job = (await broker.submit_job(_spec(by.project, script, "planted"))).id
            headers = {"Authorization": f"Bearer {self._platform.token(f'org/{by.organization}:member')}"}
            base, answers, ended = f"{self._platform.url('broker')}/v1/jobs/{job}", "", False
            async with httpx.AsyncClient(timeout=60, headers=headers) as http:
                while not ended:
                    await asyncio.sleep(1)
                    ended = (await broker.get_job(job)).settled_at is not None
                    parts = ("/logs", "/logs?stream=stderr", "/tasks", "/events", "/attempts")
                    answers += "".join(
                        one.text for one in await asyncio.gather(*(http.get(base + part) for part in parts))
                    )
            return answers

        alice, bob = self.tenants
        pairs = ((alice, bob), (bob, alice)) if self._trial.long else ((bob, alice),)
        ways = PLANTED if self._trial.long else BRIEFLY
        tries = [(way, by, of) for way in ways for by, of in pairs]
        said = await asyncio.gather(*(planted(by, of, PLANTED[way]) for way, by, of in tries))
        rows = []
        for way in ways:
            answers = [(by, text) for (one, by, _), text in zip(tries, said, strict=True) if one == way]
            rows.append(self._row("planted at its output", way, answers))
        return rows

    def _row(self, place: str, way: str, answers: Sequence[tuple[Tenant, str]]) -> Row:
        owner: set[str] = set()
        other: set[str] = set()
        for by, answer in answers:
            for word, (whose, kind) in self._words.items():
                if word in answer:
                    (owner if whose == by.user else other).add(kind if whose == by.user else f"{whose}'s {kind}")
        row = Row(place, way, tuple(sorted(owner)), tuple(sorted(other)))
        self._trial.say(f"{self._cluster.release}: {row}")
        return row

    async def end(self) -> None:
        """Let both jobs go, until the books have them. Raises RuntimeError where somebody else ended one, or changed its output."""
        self._go.touch()
        for one in self.tenants:
            broker = await self._broker(one.organization)
            await self._settled(broker, one.job)
            state, text = (await broker.get_job(one.job)).state, (await broker.read_job_log(one.job)).text
            if state is not JobState.SUCCEEDED or text != one.words["output"] + "\n":
                raise RuntimeError(f"{one.user}'s job is {state} and said {text!r}")

            async def in_the_books(job: str = one.slurm_job) -> bool:
                told = await asyncio.to_thread(
                    self._cluster.run, "sacct", "--noheader", f"--jobs={job}", "--format=State"
                )
                return "COMPLETED" in told

            await until(in_the_books, "the books to have the job")

    async def _settled(self, broker: BrokerClient, job: str) -> None:
        async def settled() -> bool:
            return (await broker.get_job(job)).settled_at is not None

        await until(settled, "a job to settle", self._stage.patience_seconds)


def _spec(project: str, script: str, name: str, environment: Mapping[str, str] | None = None) -> JobSpec:
    resources = Resources(walltime_seconds=600, memory_mib_per_node=64)
    return JobSpec(name=name, project=project, script=script, environment=dict(environment or {}), resources=resources)


def _about(command: str, of: Tenant, by: Tenant, root: str = "") -> str:
    """The command that looks at the job of `of`, run by `by`."""
    return command.format(job=of.slurm_job, folder=of.folder, output=of.output, own=by.folder, root=root)


def _words_of(commands: str) -> str:
    """A script that runs them and says what secret words they gave."""
    return f"{{ {commands}\n}} 2>&1 | grep -ao {shlex.quote(WORD)} | sort -u"
