"""What a Kubernetes site, a tenant's mapping and an offering's target are set up with. Pure; the schemas are what the adapter announces."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from caravan.contracts.base import NO_OTHER_KEYS, JsonObject, Model, Positive, like
from caravan.contracts.ids import AcceleratorId

SecretFile = Annotated[
    str,
    like(
        r"^[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}$",
        "Give the name of a file, without a folder: at most 100 letters, digits, `_`, `.` and `-`, the first of them no `.` or `-`.",
    ),
]
"""A file in the agent's secrets folder."""
Url = Annotated[
    str,
    like(
        r"^https://[^/?#@\s]+(/[^?#@\s]*)?$",
        "Give https://, a host and, if need be, a port and a path, without a user, a query or a fragment.",
        500,
    ),
]
DnsLabel = Annotated[
    str,
    like(
        r"^[a-z0-9]([a-z0-9\-]{0,61}[a-z0-9])?$",
        "Give the name of a namespace: at most 63 of a-z, 0-9 and `-`, the first and the last of them no `-`.",
    ),
]
DnsName = Annotated[
    str,
    like(
        r"^[a-z0-9]([a-z0-9.\-]{0,251}[a-z0-9])?$",
        "Give a name as Kubernetes has it: at most 253 of a-z, 0-9, `.` and `-`, the first and the last of them no `.` or `-`.",
    ),
]
Qualified = Annotated[
    str,
    like(
        r"^([a-z0-9.\-]{1,253}/)?[A-Za-z0-9][A-Za-z0-9_.\-]{0,62}$",
        "Give the name of a label or of a resource: at most 63 letters, digits, `_`, `.` and `-`, after its domain and / if it has one.",
    ),
]
"""The name of a label or of a resource."""
QueueName = Annotated[
    str,
    like(
        r"^[a-z0-9]([a-z0-9.\-]{0,61}[a-z0-9])?$",
        "Give the name of a LocalQueue: at most 63 of a-z, 0-9, `.` and `-`, the first and the last of them no `.` or `-`.",
    ),
]
"""As long as the value of a label may be."""
LabelValue = Annotated[
    str,
    like(
        r"^([A-Za-z0-9]([A-Za-z0-9_.\-]{0,61}[A-Za-z0-9])?)?$",
        "Give the value of a label: at most 63 letters, digits, `_`, `.` and `-`, the first and the last of them a letter or a digit.",
    ),
]
Image = Annotated[
    str,
    like(
        r"^[A-Za-z0-9][A-Za-z0-9._@+\-]*([/:][A-Za-z0-9._@+\-]+)*$",
        "Give an image as Kubernetes has it, without docker://: letters, digits and . _ - / : @ +, the first of them a letter or a digit.",
        500,
    ),
]
ImagePrefix = Annotated[str, like(r"^docker://[^\x00,]*$", "Begin with docker://, and give no comma.", 500)]

SECONDS_MOST = 2**30
"""34 years. Kubernetes counts in 32 bits, and a walltime has to fit beside it."""
Seconds = Annotated[int, Field(ge=1, le=SECONDS_MOST, strict=True)]

MODEL_LABELS: dict[str, str] = {
    "nvidia.com/gpu": "nvidia.com/gpu.product",
    "huawei.com/Ascend910": "node.kubernetes.io/npu.chip.name",
    "huawei.com/Ascend310P": "node.kubernetes.io/npu.chip.name",
}
"""Which label of a node names the model of its accelerators: by NVIDIA's GPU feature discovery and Ascend's device plugin."""
RESTRICTED_POD: dict[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": 65534,
    "runAsGroup": 65534,
    "fsGroup": 65534,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
RESTRICTED_CONTAINER: dict[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""With that of the pod, the profile `restricted` of the Pod Security Standards."""


class Kubeconfig(Model):
    """As kubectl reads it: its current context."""

    by: Literal["kubeconfig"]
    file: SecretFile


class Server(Model):
    """An address, its authority, and either a token or a client certificate."""

    by: Literal["server"]
    server: Url = Field(examples=["https://cluster.example:6443"])
    ca: SecretFile = Field(description="The authority that signed the server's certificate (PEM).")
    token: SecretFile | None = Field(
        default=None, description="A service account's token. It is read again as it rotates."
    )
    certificate: SecretFile | None = Field(default=None, description="A client certificate (PEM).")
    key: SecretFile | None = Field(default=None, description="And its key.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.token is None) == (self.certificate is None) or (self.certificate is None) != (self.key is None):
            raise PydanticCustomError("credentials", "Give either token, or certificate and key")
        return self


class InCluster(Model):
    """The cluster that the agent itself runs in, by its own service account."""

    by: Literal["in-cluster"]


class Slice(Model):
    """A share of a card, where a device plugin gives its memory out by a resource of its own."""

    resource: Qualified = Field(examples=["nvidia.com/gpumem"])
    amount: Positive = Field(description="For one accelerator, in the plugin's unit.")


class Settings(Model):
    """A Kubernetes site's settings. It needs 1.29 or newer."""

    api: Annotated[Kubeconfig | Server | InCluster, Field(discriminator="by")]
    image: Image | None = Field(
        default=None, description="What scripts run in where an offering names none. It has a /bin/sh."
    )
    images: tuple[ImagePrefix, ...] | None = Field(
        default=None,
        max_length=100,
        description="The images that jobs may name: these, and what is below them. Without it jobs with a container are refused.",
        examples=[["docker://registry.example/lab"]],
    )
    pull_images: Literal["always", "if_missing"] = Field(
        default="always",
        description="Whether the registry of an image that a job names is asked each time if this tenant may have it, or a node that has "
        "the image runs it for any tenant, whoever's it is. `if_missing` is for nodes that have images of no registry.",
    )
    disk_mib: Positive | None = Field(
        default=None,
        description="What a pod may write to its node's disk: files of its image and in a working folder without a claim, and its output. "
        "More ends it, by its own fault. Each pod asks for so much, too (ephemeral-storage), so Kueue's quotas have to have it. "
        "Without it a job that fills a disk ends as the site's fault.",
    )
    queue: QueueName | None = Field(
        default=None,
        description="Where the site has Kueue: the LocalQueue in each tenant's namespace at which released jobs wait to be admitted.",
    )
    model_labels: dict[Qualified, Qualified] = Field(
        default_factory=dict,
        description="Resource of an accelerator -> the label of a node that names its model, beside NVIDIA's and Ascend's, which are "
        "known. The site's accelerators are then called `<resource>:<model>`, and `<resource>` alone where there is one kind of it.",
        examples=[{"hygon.com/dcu": "hygon.com/dcu.name"}],
        json_schema_extra=NO_OTHER_KEYS,
    )
    slices: dict[AcceleratorId, Slice] = Field(default_factory=dict, json_schema_extra=NO_OTHER_KEYS)
    start_seconds: Annotated[int, Field(ge=0, le=SECONDS_MOST, strict=True)] = Field(
        default=120,
        description="A pod's time limit runs while its image is pulled, too: so much is added to the walltime for that.",
    )
    image_seconds: Positive = Field(
        default=300,
        description="A pod whose image can't be had, or whose container can't be made, is ended after so long.",
    )
    grace_seconds: Annotated[int, Field(ge=1, le=3600, strict=True)] = Field(
        default=30, description="From SIGTERM to SIGKILL."
    )
    keep_output_seconds: Seconds = Field(
        default=7 * 86_400,
        description="How long output is kept: in the agent's folder for it (CARAVAN_AGENT_OUTPUT), without one at the cluster.",
    )
    keep_output_mib: Positive = Field(
        default=64,
        description="Of a run's output so much is kept, from its beginning; its last line says that it was cut.",
    )
    keep_jobs_seconds: Seconds = Field(
        default=86_400,
        description="How long a Job stays at the cluster after all of it was billed and its output kept.",
    )
    timeout_seconds: Annotated[float, Field(gt=0, le=300)] = Field(
        default=30, description="How long the API server may be silent."
    )

    @property
    def labels(self) -> dict[str, str]:
        """Of all accelerators whose model a label names."""
        return MODEL_LABELS | self.model_labels

    @property
    def stays_seconds(self) -> int:
        """How long a Job stays at the cluster whose output isn't kept anywhere else."""
        return max(self.keep_output_seconds, self.keep_jobs_seconds)


class Tenant(Model):
    """What an organization is at the site."""

    namespace: DnsLabel
    claim: DnsName | None = Field(
        default=None,
        description="A PersistentVolumeClaim in the namespace, which all pods of the tenant may write to at once: their working folder. "
        "Without one each pod has an empty folder that ends with it.",
    )


class Toleration(Model):
    key: Qualified | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: LabelValue | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class Target(Model):
    """What an offering fixes of its jobs."""

    image: Image | None = Field(default=None, description="What scripts run in.")
    queue: QueueName | None = Field(default=None, description="A LocalQueue of Kueue's other than the site's.")
    node_selector: dict[Qualified, LabelValue] = Field(default_factory=dict, json_schema_extra=NO_OTHER_KEYS)
    tolerations: tuple[Toleration, ...] = ()
    priority_class: DnsName | None = None
    runtime_class: DnsName | None = None
    service_account: DnsName | None = Field(
        default=None, description="Of the tenant's namespace. Its token is never mounted."
    )
    image_pull_secrets: tuple[DnsName, ...] = Field(default=(), description="Of the tenant's namespace.")
    pod_security: JsonObject = Field(
        default_factory=lambda: dict(RESTRICTED_POD), description="The pod's securityContext."
    )
    container_security: JsonObject = Field(
        default_factory=lambda: dict(RESTRICTED_CONTAINER), description="The container's securityContext."
    )


def said(error: ValidationError) -> str:
    """What is wrong, field by field, without what was given."""
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
