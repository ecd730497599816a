"""A platform with the cluster as its site, and a job of each of two organizations at work there, full of secret words."""

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.case import Trial
from bench.customers import Customer
from bench.demo.stages import Slurm
from bench.leaking import Words
from bench.platform import Platform, let_in, open_market, until
from bench.slurm_tenants.ways import KINDS
from caravan.contracts.jobs import JobState
from tests.backends.slurm import Cluster


@dataclass(frozen=True)
class Tenant:
    """An organization, by the name of its Unix user, and its job once it has started."""

    customer: Customer
    words: Mapping[str, str]
    """Kind -> word."""
    folder: Path
    job: str
    slurm_job: str
    output: str

    @property
    def user(self) -> str:
        return self.customer.name

    def about(self, command: str, looker: "Tenant", **more: str) -> str:
        """The command that looks at this one's job, run by `looker`."""
        return command.format(job=self.slurm_job, folder=self.folder, output=self.output, own=looker.folder, **more)


class Stand:
    """Both jobs run on until `end`."""

    def __init__(self, trial: Trial, cluster: Cluster) -> None:
        self.trial, self.cluster = trial, cluster
        self._ends = ExitStack()
        self._stage = Slurm(cluster, self._ends)
        self.platform = Platform(trial.folder / f"{cluster.release}-{cluster.pid}")
        self._go = cluster.work / "go"
        self.root = trial.folder / "of-root"
        self.words = Words(trial.random)
        self.tenants: tuple[Tenant, ...] = ()

    async def __aenter__(self) -> "Stand":
        stage, platform = self._stage, self.platform
        try:
            platform.start()
            market = await open_market(
                platform, adapter=stage.adapter, cpus=32, site_settings=stage.settings, tenant=stage.tenant,
                target={"partition": "batch"}, start_agent=lambda site: stage.run_agent(site, platform),
            )  # fmt: skip
            home = f"{stage.settings['folder']}/bob"
            self.cluster.run("install", "-d", "-m", "700", "-o", "bob", home)
            other = await let_in(
                platform, market.provider, market.site, tenant={"user": "bob"}, name="Weihe Materials 渭河材料"
            )
            self.root.touch(0o600)
            self.root.write_text(self.words.new("root", "file") + "\n")
            begun = (("alice", market.organization, market.project), ("bob", *other))
            self.tenants = tuple([await self._started(Customer(platform, *one)) for one in begun])
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._ends.close()
        await self.platform.__aexit__()

    async def _started(self, customer: Customer) -> Tenant:
        user = customer.name
        words = {kind: self.words.new(user, kind) for kind in KINDS}
        first, last = words["output"][:12], words["output"][12:]
        script = (
            f"#!/bin/sh\n# {words['script']}\nprintf '%s%s\\n' {first} {last}\n"
            f"sh -c 'while ! test -e {self._go}; do sleep 0.2; done' {words['argument']}\n"
        )
        job = await customer.submitted(script, words["name"], {"API_KEY": words["environment"]})
        folder = Path(self._stage.settings["folder"], user)

        def files() -> list[Path]:
            return [file for file in folder.iterdir() if words["output"] in file.read_text()]

        async def said() -> list[Path]:
            return await asyncio.to_thread(files)

        (output,) = await until(said, f"{user}'s job to say something")
        queue = await asyncio.to_thread(self.cluster.run, "squeue", "--noheader", f"--user={user}", "--format=%A")
        return Tenant(customer, words, folder, job, queue.strip(), str(output))

    async def end(self) -> None:
        """Let both jobs go, until the books have them. Raises RuntimeError where somebody else ended one, or changed its output."""
        self._go.touch()
        for one in self.tenants:
            await one.customer.settled(one.job)
            state = (await (await one.customer.broker()).get_job(one.job)).state
            text = await one.customer.log(one.job)
            if state is not JobState.SUCCEEDED or text != one.words["output"] + "\n":
                raise RuntimeError(f"{one.user}'s job is {state} and said {text!r}")

            async def in_the_books(job: str = one.slurm_job) -> bool:
                told = await asyncio.to_thread(
                    self.cluster.run, "sacct", "--noheader", f"--jobs={job}", "--format=State"
                )
                return "COMPLETED" in told

            await until(in_the_books, "the books to have the job")
