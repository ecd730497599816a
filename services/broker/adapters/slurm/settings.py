"""What a Slurm site, a tenant's mapping and an offering's target are set up with. Pure; the schemas are what the adapter announces."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from caravan.contracts.base import NO_OTHER_KEYS, Count, Model, Positive, like
from caravan.contracts.ids import AcceleratorId


def _reachable(address: str) -> str:
    """Raises PydanticCustomError: no host, or a port that is none."""
    try:
        if parse_url(address).host:
            return address
    except LocationParseError:
        pass
    raise PydanticCustomError("url", "An address is http:// or https://, a host and, if need be, a port up to 65535")


Folder = Annotated[str, like(r"^/[^\x00%]*$", "Give a path that begins with / and has no %.", 2048)]
"""Slurm expands `%` in paths of output."""
Url = Annotated[
    str,
    like(r"^https?://[^/?#@\s]+/?$", "Give http:// or https://, a host and, if need be, a port, and no more.", 500),
    AfterValidator(_reachable),
]
UnixUser = Annotated[
    str,
    like(
        r"^[a-z_][a-z0-9_.\-]{0,31}$",
        "Give the name of a Unix user: at most 32 of a-z, 0-9, `_`, `.` and `-`, the first of them a letter or `_`.",
    ),
]
Word = Annotated[
    str,
    like(
        r"^[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}$",
        "Give a name as Slurm has it: at most 100 letters, digits, `_`, `.` and `-`, the first of them no `.` or `-`.",
    ),
]
"""A name at Slurm: a partition, an account, a QOS, a reservation, a cluster."""
Program = Annotated[
    str,
    like(
        r"^(/[^\x00]+|[A-Za-z0-9_][A-Za-z0-9_.\-]*)$",
        "Give a program by its path, which begins with /, or by its name alone.",
        2048,
    ),
]
Option = Annotated[str, like(r"^[^\x00]+$", "Give at least one character, and no NUL.", 2048)]
"""A word of a command line."""
ImagePrefix = Annotated[
    str, like(r"^(docker://|oras://|/)[^\x00,]*$", "Begin with docker://, oras:// or /, and give no comma.", 500)
]
BundlePrefix = Annotated[str, like(r"^/[^\x00,]*$", "Give a path that begins with / and has no comma.", 500)]
SecretFile = Annotated[
    str,
    like(
        r"^[A-Za-z0-9_{}][A-Za-z0-9_.\-{}]{0,99}$",
        "Give the name of a file, without a folder: at most 100 letters, digits, `_`, `.`, `-`, `{` and `}`.",
    ),
]
Constraint = Annotated[
    str,
    like(
        r"^[A-Za-z0-9_.,&|\[\]()*\-]{1,200}$",
        "Give features of nodes as sbatch --constraint takes them: at most 200 letters, digits and _ . , & | [ ] ( ) * -",
    ),
]


class TokenSource(Model):
    """Where tokens for slurmrestd come from: exactly one of these, each a file in the agent's secrets folder."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    key_file: SecretFile | None = Field(
        default=None, description="The cluster's HS256 key (jwt_hs256.key): tokens are signed with it for each user."
    )
    file: SecretFile | None = Field(
        default=None,
        description="A token that someone renews; `{user}` stands for the Unix user. Without it all jobs are that one user's.",
    )
    command: SecretFile | None = Field(
        default=None,
        description="A program that is given the Unix user and prints a token (`scontrol token` or its like).",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(one is not None for one in (self.key_file, self.file, self.command)) != 1:
            raise PydanticCustomError("token", "Give exactly one of key_file, file and command")
        return self


class NodeShape(Model):
    """What a node has."""

    cpus: Positive
    memory_mib: Positive
    accelerators: Count = 0


class Partition(Model):
    """What the agent can't learn of a partition from Slurm before a job runs."""

    accelerator: AcceleratorId | None = Field(
        default=None, description="The kind in this partition, for clusters whose accounting knows no models."
    )
    whole_nodes: NodeShape | None = Field(
        default=None, description="Jobs get whole nodes (OverSubscribe=EXCLUSIVE) of this shape."
    )
    threads_per_core: Positive = Field(
        default=1, description="CPUs are given by whole cores (CR_Core) of so many CPUs."
    )
    max_memory_mib_per_cpu: Positive | None = Field(
        default=None, description="MaxMemPerCPU: more memory than that adds CPUs to the job."
    )


class Apptainer(Model):
    """The nodes run containers by apptainer."""

    runtime: Literal["apptainer"] = Field(
        description="1.1 or newer, on every node, as each tenant's user may run it. `folder` then has no colon or comma in its path."
    )
    program: Program = Field(
        default="apptainer", description="Its name in /usr/local/bin, /usr/bin or /bin, or its path."
    )
    options: tuple[Option, ...] = Field(
        default=(),
        max_length=100,
        description="What every container is started with besides, word by word.",
        examples=[["--bind", "/shared/data:/data:ro"]],
    )
    accelerator_options: dict[AcceleratorId, tuple[Option, ...]] = Field(
        default_factory=dict,
        description="And what a container of a job with this kind of accelerator is.",
        examples=[{"acc_nvidia-h100-80g": ["--nv"]}],
        json_schema_extra=NO_OTHER_KEYS,
    )
    images: tuple[ImagePrefix, ...] = Field(
        default=("docker://", "oras://", "/"),
        max_length=100,
        description="The images that jobs may name: these, and what is below them. What a script starts by itself isn't looked at.",
        examples=[["docker://registry.example/lab", "/shared/images"]],
    )


class Bundles(Model):
    """Slurm itself runs containers: `srun --container`."""

    runtime: Literal["slurm"] = Field(
        description="An image is the path of an OCI bundle, and oci.conf says how the nodes run one. The bundle's config.json says what is "
        "inside, as whom and where it starts, and its variables win over the job's; the words are the job's, which must give a command."
    )
    images: tuple[BundlePrefix, ...] = Field(
        default=("/",),
        max_length=100,
        description="The bundles that jobs may name: these, and those below them.",
        examples=[["/shared/bundles"]],
    )


class Settings(Model):
    """A Slurm site's settings."""

    url: Url = Field(description="slurmrestd's address, without a path.", examples=["http://slurm.example:6820"])
    cluster: Word = Field(description="ClusterName: it is part of each run's identity.")
    user: UnixUser = Field(
        description="The Unix user as whom the whole site is read. It must be allowed to see all jobs."
    )
    token: TokenSource
    folder: Folder = Field(
        description="On a filesystem that the agent and all nodes share. The working folder of a tenant is `<folder>/<Unix user>`: "
        "the centre makes it, owned by that user and closed to others."
    )
    partition: Word | None = Field(default=None, description="Where an offering names none; Slurm's default otherwise.")
    account: Word | None = Field(default=None, description="Where neither tenant nor offering names one.")
    qos: Word | None = Field(default=None, description="Where an offering names none.")
    partitions: dict[Word, Partition] = Field(default_factory=dict, json_schema_extra=NO_OTHER_KEYS)
    containers: Annotated[Apptainer | Bundles, Field(discriminator="runtime")] | None = Field(
        default=None, description="Without it jobs with a container are refused."
    )
    over_time_limit_minutes: Count = Field(default=0, description="OverTimeLimit of slurm.conf.")
    kill_wait_seconds: Count = Field(default=30, description="KillWait of slurm.conf.")
    timeout_seconds: Annotated[float, Field(gt=0, le=300)] = Field(
        default=30,
        description="How long slurmrestd may be silent. It answers after up to 18 s while slurmctld is away.",
    )

    @model_validator(mode="after")
    def _folder_can_be_bound(self) -> Self:
        if isinstance(self.containers, Apptainer) and {":", ","} & set(self.folder):
            raise PydanticCustomError("folder", "apptainer reads a colon or comma in the path of `folder` as its own")
        return self

    def of(self, partition: str | None) -> Partition:
        """What is said of a partition; of the default one for None."""
        return self.partitions.get(partition or self.partition or "", Partition())


class Tenant(Model):
    """Who an organization is at the site."""

    user: UnixUser
    account: Word | None = None


class Target(Model):
    """What an offering fixes of its jobs."""

    partition: Word | None = None
    account: Word | None = Field(default=None, description="Of the offering; else the tenant's.")
    qos: Word | None = None
    reservation: Word | None = None
    constraint: Constraint | None = None
    requeue: bool = Field(
        default=False,
        description="Slurm may start a job again by itself (a node failed, it was preempted, an operator requeued it). Each start is a "
        "run of its own, and the centre bears those that Slurm took back. Otherwise the platform decides where it is tried again.",
    )


def said(error: ValidationError) -> str:
    """What is wrong, field by field, without what was given."""
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
