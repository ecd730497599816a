"""What a local site is set up with, and what it allocates. Pure."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from caravan.contracts.base import Model, Positive, like
from caravan.contracts.dispatch import Grant
from caravan.contracts.spec import Resources
from services.broker.adapters.port import Rejected

KILL_GRACE_SECONDS = 2
Folder = Annotated[str, like(r"^/[^\x00]*$", "Give a path that begins with /.", 4096)]
Uid = Annotated[int, Field(ge=1000, lt=2**31, strict=True)]


class Settings(Model):
    """A local site's settings; `model_json_schema()` of it is what the adapter announces."""

    folder: Folder = Field(description="Absolute path of the site's own folder: submissions, output, tenants' folders.")
    cpus: Positive | None = Field(default=None, description="CPUs offered; all of the machine by default.")
    memory_mib: Positive | None = Field(default=None, description="Memory offered; all of the machine by default.")
    uid_range: tuple[Uid, Uid] = Field(
        default=(610_000, 619_999),
        description="As root: the first and last uid that tenants get, one each. Keep it free of users.",
    )
    kill_grace_seconds: Annotated[int, Field(ge=1, le=3600, strict=True)] = Field(
        default=KILL_GRACE_SECONDS, description="From SIGTERM to SIGKILL, the last half second of it kept for dying."
    )
    output_mib: Positive = Field(
        default=1024, description="What a run may write to its output, and as much to its error output; more ends it."
    )
    hide: tuple[Folder, ...] = Field(default=(), description="Further folders and files that no job may see.")
    i_accept_jobs_on_this_machine: bool = Field(
        default=False,
        description="Consent that tenants' scripts run on the machine of the agent; needed in production.",
    )

    @model_validator(mode="after")
    def _a_range(self) -> Self:
        if self.uid_range[0] > self.uid_range[1]:
            raise PydanticCustomError("uid_range", "uid_range is [first, last]")
        return self


def grant(resources: Resources, target: Mapping[str, Any], settings: Mapping[str, Any]) -> Grant:
    """All that was asked, on one machine, for the walltime and the grace after it. Raises Rejected: it can't run on one machine
    without accelerators."""
    if resources.nodes != 1:
        raise Rejected(f"a local site is one machine: {resources.nodes} nodes can't be had")
    if resources.accelerators_per_node:
        raise Rejected("a local site offers no accelerators")
    return Grant(
        nodes=1,
        cpus=resources.cpus_per_node,
        memory_mib=resources.memory_mib_per_node,
        max_seconds=resources.walltime_seconds + settings.get("kill_grace_seconds", KILL_GRACE_SECONDS),
    )
