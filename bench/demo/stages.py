"""Where the jobs of the story run: what the centre has, and how one looks there, past the platform, whether a job is alive."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from bench.agents import Agents
from bench.platform import Platform
from caravan.contracts.offerings import AgentPlace, Offering
from tests.backends.kubernetes import Cluster as KubernetesCluster
from tests.backends.kubernetes import running
from tests.backends.kubernetes.image import BUSYBOX
from tests.backends.kubernetes_site import namespace, secrets, server
from tests.backends.slurm import RELEASES
from tests.backends.slurm import Cluster as SlurmCluster
from tests.backends.slurm.cluster import running as running_slurm

CORES: Final = 8
"""What the local site sells. On a smaller machine it oversells, so that the jobs of the story run beside each other."""
MEMORY_MIB: Final = 4096
IMAGES: Final = "docker://caravan.test"
"""What containers may be made of at the Kubernetes cluster."""


class Stage(Protocol):
    """A backend that is up, and not a site of the platform yet."""

    adapter: str
    agent: AgentPlace
    settings: Mapping[str, Any]
    tenant: Mapping[str, Any]
    target: Mapping[str, Any]
    """Of the offering that the centre makes by hand."""
    grace: str
    """What a job may run on for after its walltime."""
    patience_seconds: float
    """Within it, all usage has been stated after a job's end."""
    errors: Literal["stdout", "stderr"]
    """Where what a job writes to its stderr is read."""

    def sold(self, drafted: Sequence[Offering]) -> Offering:
        """Which of the drafted offerings the story is about."""
        ...

    def run_agent(self, site: str, platform: Platform) -> None:
        """Start the site's agent, where that is the centre's to do. It ends with the stage."""
        ...

    def named(self, identity: str) -> str:
        """What the centre's own people call the run."""
        ...

    def alive(self, identity: str) -> bool:
        """Whether the run is at work, by the backend's word."""
        ...


class Local:
    """This machine."""

    adapter = "local"
    agent = AgentPlace.PLATFORM
    tenant: Mapping[str, Any] = {}
    target: Mapping[str, Any] = {}
    grace = "of grace before the kill"
    patience_seconds: float = 30
    errors: Literal["stdout", "stderr"] = "stderr"

    def __init__(self, folder: Path) -> None:
        self.settings: Mapping[str, Any] = {"folder": str(folder), "cpus": CORES, "memory_mib": MEMORY_MIB}

    def sold(self, drafted: Sequence[Offering]) -> Offering:
        (one,) = drafted
        return one

    def run_agent(self, site: str, platform: Platform) -> None:
        return

    def named(self, identity: str) -> str:
        return f"pid {identity.split(':')[2]}"

    def alive(self, identity: str) -> bool:
        return Path("/proc", identity.split(":")[2]).exists()


class Slurm:
    """A test cluster's partition `gpu`. The enterprise is its user `alice`; the agent signs with the cluster's key.

    What it starts ends with `ends`.
    """

    adapter = "slurm"
    agent = AgentPlace.CENTRE
    tenant: Mapping[str, Any] = {"user": "alice"}
    target: Mapping[str, Any] = {"partition": "short"}
    grace = "for slurmctld to look at limits, and for KillWait,"
    patience_seconds: float = 300
    errors: Literal["stdout", "stderr"] = "stderr"

    def __init__(self, cluster: SlurmCluster, ends: ExitStack) -> None:
        self.cluster, self._ends = cluster, ends
        folder = cluster.work / "caravan"
        cluster.run("install", "-d", "-m", "755", str(folder))
        cluster.run("install", "-d", "-m", "700", "-o", "alice", str(folder / "alice"))
        self.settings: Mapping[str, Any] = {
            "url": cluster.url,
            "cluster": "caravan",
            "user": "slurm",
            "token": {"key_file": "jwt_hs256.key"},
            "folder": str(folder),
            "kill_wait_seconds": 2,
        }

    def sold(self, drafted: Sequence[Offering]) -> Offering:
        (one,) = [offering for offering in drafted if offering.target == {"partition": "gpu"}]
        return one

    def run_agent(self, site: str, platform: Platform) -> None:
        self._ends.enter_context(self.agents(platform)).start(site)

    def agents(self, platform: Platform, environment: Mapping[str, str] | None = None) -> Agents:
        """Those of a site here."""
        return Agents(platform, "slurm", {"CARAVAN_AGENT_SECRETS": str(self.cluster.etc), **(environment or {})})

    def named(self, identity: str) -> str:
        return f"Slurm job {identity.split(':')[1]}"

    def alive(self, identity: str) -> bool:
        job = identity.split(":")[1]
        return bool(self.cluster.run("squeue", "--noheader", "--states=RUNNING", f"--jobs={job}").strip())


class Kubernetes:
    """A test cluster's one real node. The enterprise is its namespace `alice`; the agent has the rights that a centre gives it.

    What it starts ends with `ends`.
    """

    adapter = "kubernetes"
    agent = AgentPlace.CENTRE
    target: Mapping[str, Any] = {}
    grace = "for the image to come, and from SIGTERM to SIGKILL,"
    patience_seconds: float = 300
    errors: Literal["stdout", "stderr"] = "stdout"

    def __init__(self, cluster: KubernetesCluster, ends: ExitStack) -> None:
        self.cluster, self._ends = cluster, ends
        self._secrets = secrets(cluster)
        self.tenant: Mapping[str, Any] = {"namespace": namespace(cluster, "alice")}
        self.settings: Mapping[str, Any] = {
            "api": server(cluster), "image": BUSYBOX, "images": [IMAGES], "pull_images": "if_missing",
            "start_seconds": 10, "grace_seconds": 2,
        }  # fmt: skip

    def sold(self, drafted: Sequence[Offering]) -> Offering:
        (one,) = drafted
        return one

    def run_agent(self, site: str, platform: Platform) -> None:
        self._ends.enter_context(self.agents(platform)).start(site)

    def agents(self, platform: Platform, environment: Mapping[str, str] | None = None) -> Agents:
        """Those of a site here."""
        return Agents(platform, "kubernetes", {"CARAVAN_AGENT_SECRETS": str(self._secrets), **(environment or {})})

    def named(self, identity: str) -> str:
        return f"pod {identity[:8]}"

    def alive(self, identity: str) -> bool:
        pods = self.cluster.ask("GET", f"/api/v1/namespaces/{self.tenant['namespace']}/pods")["items"]
        return any((pod["metadata"]["uid"], pod["status"]["phase"]) == (identity, "Running") for pod in pods)


def clusters(ends: ExitStack) -> tuple[Slurm, Kubernetes]:
    """A Slurm 24.11 and a Kubernetes, started side by side. They end with `ends`. Raises LeftOut."""
    with ThreadPoolExecutor() as starting:
        slurm = starting.submit(ends.enter_context, running_slurm(RELEASES[1]))
        kubernetes = starting.submit(ends.enter_context, running())
    return Slurm(slurm.result(), ends), Kubernetes(kubernetes.result(), ends)
