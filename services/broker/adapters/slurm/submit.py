"""From a Submission to the request that stages it. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from caravan.contracts.dispatch import Submission
from services.broker.adapters.port import Rejected, script_of
from services.broker.adapters.slurm import apptainer, bundle, script
from services.broker.adapters.slurm.dialect import Dialect
from services.broker.adapters.slurm.grant import limit_minutes
from services.broker.adapters.slurm.reference import output_name
from services.broker.adapters.slurm.settings import Bundles, Settings, Target, Tenant
from services.broker.adapters.slurm.tres import Accelerators

PATH = "/usr/local/bin:/usr/bin:/bin"


def request(
    submission: Submission, site: str, settings: Settings, tenant: Tenant, accelerators: Accelerators, dialect: Dialect
) -> dict[str, Any]:
    """The body of `POST job/submit`: held, named by the tag. Raises Rejected: the site has no such accelerator, or
    doesn't run the image."""
    resources, target = submission.resources, Target.model_validate(submission.target)
    folder = f"{settings.folder}/{tenant.user}"
    tasks = array_tasks(submission.indices)
    batch = script.batch_script(
        _command(submission, settings, folder),
        submission.script or "",
        folder=folder,
        tag=submission.tag,
        user=tenant.user,
        index=submission.indices[0],
        tasks=tasks,
    )
    place = "%A" if tasks else "%j"
    index = "%a" if tasks else str(submission.indices[0])
    job: dict[str, Any] = {
        "name": submission.tag,
        "comment": comment(site, submission),
        "hold": True,
        **dialect.requeue(target.requeue),
        "current_working_directory": folder,
        "standard_output": f"{folder}/{output_name(submission.tag, place, index, 'out')}",
        "standard_error": f"{folder}/{output_name(submission.tag, place, index, 'err')}",
        "environment": dialect.environment(_environment(submission, settings, folder, tenant.user)),
        "tasks": resources.nodes * resources.tasks_per_node,
        "tasks_per_node": resources.tasks_per_node,
        "cpus_per_task": resources.cpus_per_task,
        "memory_per_node": dialect.number(resources.memory_mib_per_node),
        "time_limit": dialect.number(limit_minutes(resources)),
        **dialect.nodes(resources.nodes),
    }
    wanted = {
        "partition": target.partition or settings.partition,
        "account": target.account or tenant.account or settings.account,
        "qos": target.qos or settings.qos,
        "reservation": target.reservation,
        "constraints": target.constraint,
    }
    job |= {name: value for name, value in wanted.items() if value is not None}
    if tasks:
        job["array"] = f"{ranges(submission.indices)}%{submission.max_parallel}"
    if resources.accelerators_per_node:
        kind = submission.grant.accelerator
        gres = accelerators.gres(kind) if kind else None
        if gres is None:
            raise Rejected(f"the site's settings don't say what Slurm calls the accelerator {kind}")
        job |= dialect.accelerators(gres, resources.accelerators_per_node)
    return {"script": batch, "job": job}


def _command(submission: Submission, settings: Settings, folder: str) -> str:
    container, site = submission.container, settings.containers
    if container is None:
        return script.command(script_of(submission))
    if site is None or not container.among(site.images):
        raise Rejected("the site's settings don't have containers of this image run")
    if isinstance(site, Bundles):
        return bundle.command(container, submission.resources)
    return apptainer.command(container, site, submission.grant.accelerator, folder)


def array_tasks(indices: Sequence[int]) -> int:
    """How many tasks the Slurm array of these indexes has; 0: one task with index 0 needs none."""
    return 0 if tuple(indices) == (0,) else len(indices)


def ranges(indices: Sequence[int]) -> str:
    """`0-3,7` for 0, 1, 2, 3, 7."""
    parts: list[list[int]] = []
    for index in sorted(indices):
        if parts and parts[-1][1] == index - 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def comment(site: str, submission: Submission) -> str:
    """Whose job it is, for the sweeper and for people: `caravan sit_… 4 job_…: 名字`, with the size of the array."""
    return f"{mark(site)}{array_tasks(submission.indices)} {submission.job}: {submission.name}"


def mark(site: str) -> str:
    """How the comment of every job of this site begins. Several platforms may use one cluster."""
    return f"caravan {site} "


def _environment(submission: Submission, settings: Settings, folder: str, user: str) -> Mapping[str, str]:
    resources, own = submission.resources, submission.environment
    if submission.container is not None:
        inside = bundle.environment if isinstance(settings.containers, Bundles) else apptainer.environment
        own = inside(own)
    return {
        "PATH": PATH,
        "LANG": "C.UTF-8",
        "HOME": folder,
        "USER": user,
        **own,
        "CARAVAN_JOB": submission.job,
        "CARAVAN_ATTEMPT": submission.attempt,
        "CARAVAN_JOB_NAME": submission.name,
        "CARAVAN_CPUS": str(submission.grant.cpus),
        "CARAVAN_TASKS": str(resources.tasks_per_node),
        "CARAVAN_MEMORY_MIB": str(submission.grant.memory_mib),
        "CARAVAN_WALLTIME_SECONDS": str(resources.walltime_seconds),
    }
