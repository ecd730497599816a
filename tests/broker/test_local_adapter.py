"""What is the local adapter's own: its supervisors and keepers when they are killed, its tenants, its isolation, its refusals."""

import asyncio
import contextlib
import json
import os
import pwd
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from caravan.contracts.jobs import Outcome, RunState
from caravan.contracts.spec import Resources
from caravan.contracts.usage import Span
from caravan.kernel import ids
from services.broker.adapters import local
from services.broker.adapters.local import booked, files, leftovers, linux
from services.broker.adapters.local.tenants import NoUidLeft, tenant
from services.broker.adapters.port import Rejected, RunSeen, SiteContext, SiteRefused
from tests.contract.backends import HARNESSES, Harness, Site, eventually
from tests.contract.test_backend_executing import processes_with

ROOT = Path(__file__).parents[2]
# unlike any other command line on the machine
DAEMON = (
    "#!/bin/sh\n(setsid sleep {word}1 &)\n(env -i setsid sleep {word}2 &)\nsleep 0.1\necho ready\nexec sleep {word}3\n"
)


def test_days_of_the_books_are_kept_for_longer_than_a_year_and_not_for_ever(tmp_path: Path) -> None:
    first = datetime(2026, 1, 1, 12, tzinfo=UTC)

    def keep(day: int) -> set[str]:
        start, end = first + timedelta(days=day), first + timedelta(days=day, seconds=10)
        span = Span(start=start, end=end, nodes=1, cpus=1, memory_mib=0)
        run = RunSeen(0, f"run {day}", RunState.ENDED, start, end, Outcome.SUCCEEDED, 0, None, "", (span,), True)
        booked.keep(tmp_path, f"ref-{day}", [run])
        return {row.identity for row in booked.read(tmp_path, first, end)}

    assert keep(0) == {"run 0"}
    assert keep(1) == {"run 0", "run 1"}
    assert keep(booked.KEPT.days - 1) == {"run 0", "run 1", "run 399"}
    assert keep(booked.KEPT.days) == {"run 1", "run 399", "run 400"}
    assert keep(0) == {"run 0"}, "what is told late is kept, and takes nothing with it"
    assert len(list(tmp_path.iterdir())) == 4


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return HARNESSES["local"][0](tmp_path, lambda _: pytest.fail("it needs no cluster"))


@pytest.fixture
async def site(harness: Harness) -> AsyncIterator[Site]:
    async with harness.open() as backend:
        site = Site(harness, backend)
        yield site
        await site.clear()


@pytest.fixture
def word() -> Iterator[str]:
    chosen = f"6{int(ids.new('run')[-10:], 16)}"
    yield chosen
    for pid in processes_with(chosen):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def claim(site: Site, reference: str) -> dict[str, Any]:
    found = files.read(f"{folder(site)}/submissions/{reference}/claim")
    assert found is not None
    return found


def folder(site: Site) -> str:
    return str(site.harness.context.settings["folder"])


def start_unheard(path: str) -> None:
    """Start a supervisor whose starter no longer listens."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-I", "-S", leftovers.SUPERVISOR, path]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=writing, stderr=subprocess.DEVNULL, check=True)
    os.close(writing)


async def ready(site: Site, script: str, **how: Any) -> str:
    reference = await site.start(script, **how)
    await site.has_said(reference, "ready")
    return reference


async def test_a_killed_supervisor_takes_its_task_along_and_the_site_bears_it(site: Site, word: str) -> None:
    reference = await ready(site, DAEMON.format(word=word), indices=(0, 1), max_parallel=1)
    (before,) = (await site.running(reference)).runs
    assert len(processes_with(word)) == 3
    os.kill(claim(site, reference)["pid"], signal.SIGKILL)
    seen = await site.ended(reference)
    assert processes_with(word) == []
    (run,) = seen.runs
    assert (run.identity, run.index, run.outcome, run.final) == (before.identity, 0, Outcome.SITE, True)
    assert "supervisor was killed" in run.detail
    assert run.ended_at is not None
    assert before.started_at <= run.ended_at <= seen.seen_at
    assert (await site.ended(reference)).runs == seen.runs
    async with site.harness.open() as another:
        assert (await Site(site.harness, another).ended(reference)).runs == seen.runs
    assert await site.backend.staged() == []


async def test_what_a_supervisor_and_its_keeper_leave_when_both_are_killed_is_ended(site: Site, word: str) -> None:
    reference = await ready(site, DAEMON.format(word=word))
    supervisor = claim(site, reference)["pid"]
    keepers = [pid for pid, one in linux.processes().items() if one.parent == supervisor]
    # stopped first, so that neither sees the other die
    for pid in (*keepers, supervisor):
        os.kill(pid, signal.SIGSTOP)
    for pid in (*keepers, supervisor):
        os.kill(pid, signal.SIGKILL)
    seen = await site.ended(reference)
    assert seen.runs[0].outcome is Outcome.SITE
    if os.getuid() == 0:
        assert processes_with(word) == []
    else:  # without a uid of its own what has dropped its environment can't be told from others
        assert len(processes_with(word)) <= 1


async def test_other_submissions_of_the_tenant_are_left_alone_when_one_is_buried(site: Site, word: str) -> None:
    other = await ready(site, f"#!/bin/sh\n(setsid sleep {word}9 &)\necho ready\nexec sleep {word}8\n")
    reference = await ready(site, DAEMON.format(word=word))
    os.kill(claim(site, reference)["pid"], signal.SIGKILL)
    await site.ended(reference)
    assert len(processes_with(word)) == 2
    await site.backend.cancel(other)
    assert (await site.ended(other)).runs[0].outcome is Outcome.CANCELLED


async def test_usage_is_stated_only_as_far_as_the_supervisor_vouches_for_it(site: Site) -> None:
    reference = await ready(site, "#!/bin/sh\necho ready\nexec sleep 600\n")
    supervisor = claim(site, reference)["pid"]
    os.kill(supervisor, signal.SIGSTOP)
    await eventually(lambda: getattr(linux.process(supervisor), "state", "") == "T", "it is stopped")
    vouched = os.stat(f"{folder(site)}/submissions/{reference}/heartbeat").st_mtime
    await eventually(lambda: time.time() > vouched + 2, "time goes on")
    stated = await site.seen(reference)
    assert stated.seen_at.timestamp() == vouched
    assert all(span.end <= stated.seen_at for run in stated.runs for span in run.spans)
    os.kill(supervisor, signal.SIGKILL)
    (run,) = (await site.ended(reference)).runs
    assert run.ended_at == max(stated.seen_at, run.started_at)


async def test_a_killed_keeper_is_the_sites_fault_and_leaves_nothing(site: Site, word: str) -> None:
    reference = await ready(site, DAEMON.format(word=word))
    supervisor = claim(site, reference)["pid"]
    (keeper,) = (pid for pid, one in linux.processes().items() if one.parent == supervisor)
    os.kill(keeper, signal.SIGKILL)
    (run,) = (await site.ended(reference)).runs
    assert (run.outcome, run.exit_code) == (Outcome.SITE, None)
    assert processes_with(word) == []


async def test_a_supervisor_that_is_told_to_end_ends_its_tasks_as_the_sites_fault(site: Site, word: str) -> None:
    reference = await ready(site, DAEMON.format(word=word), indices=(0, 1), max_parallel=1)
    os.kill(claim(site, reference)["pid"], signal.SIGTERM)
    seen = await site.ended(reference)
    assert [(run.index, run.outcome) for run in seen.runs] == [(0, Outcome.SITE)]
    assert processes_with(word) == []


async def test_after_a_restart_of_the_machine_what_ran_is_the_sites_fault(site: Site) -> None:
    reference = await ready(site, "#!/bin/sh\necho ready\nexec sleep 600\n")
    claimed = claim(site, reference)
    os.kill(claimed["pid"], signal.SIGKILL)
    await eventually(lambda: processes_with(reference) == [], "the keeper has ended the task")
    path = f"{folder(site)}/submissions/{reference}"
    files.replace(f"{path}/claim", {**claimed, "boot_id": "another"})
    os.utime(f"{path}/heartbeat", (2_000_000_000, 2_000_000_000))
    async with site.harness.open() as backend:
        (run,) = (await Site(site.harness, backend).ended(reference)).runs
    assert run.outcome is Outcome.SITE
    assert "restarted" in run.detail
    assert run.ended_at is not None
    # the last second that the supervisor had vouched for
    assert run.ended_at.timestamp() == 2_000_000_000


async def test_a_supervisor_of_another_container_lives_as_long_as_its_heart_beats(site: Site) -> None:
    reference = await ready(site, "#!/bin/sh\necho ready\nexec sleep 600\n")
    claimed = claim(site, reference)
    path = f"{folder(site)}/submissions/{reference}"
    files.replace(f"{path}/claim", {**claimed, "pid_namespace": "pid:[1]", "ticks": 1})
    async with site.harness.open() as backend:
        assert not (await Site(site.harness, backend).seen(reference)).ended
        os.kill(claimed["pid"], signal.SIGKILL)
        await eventually(lambda: processes_with(reference) == [], "the keeper has ended the task")
        os.utime(f"{path}/heartbeat", (1, 1))
        assert (await Site(site.harness, backend).seen(reference)).runs[0].outcome is Outcome.SITE
    assert files.read(f"{path}/cancel") is not None, "one that was only frozen starts nothing more when it thaws"


async def test_an_end_that_was_told_stays_when_the_supervisor_thaws(site: Site) -> None:
    """It was believed dead, and its task's end was written for it."""
    reference = await ready(site, "#!/bin/sh\necho ready\nexec sleep 600\n")
    path = f"{folder(site)}/submissions/{reference}"
    begun = files.read(f"{path}/0.start.json")
    assert begun is not None
    told = {**begun, "outcome": "site", "detail": "silent", "exit_code": None, "signal": None}
    files.create(f"{path}/0.end.json", {**told, "ended_at": begun["started_at"]})
    files.create(f"{path}/cancel", {})
    await eventually(lambda: processes_with(reference) == [] and os.path.exists(f"{path}/ended"), "it has ended")
    async with site.harness.open() as backend:
        (run,) = (await Site(site.harness, backend).seen(reference)).runs
    assert (run.outcome, run.detail) == (Outcome.SITE, "silent")


async def test_a_released_submission_goes_on_when_its_starter_died_before_the_answer(site: Site) -> None:
    reference = await site.stage("#!/bin/sh\necho ran\n")
    start_unheard(f"{folder(site)}/submissions/{reference}")

    async def released() -> bool:
        return (await site.seen(reference)).released

    await eventually(released, "it is claimed")
    await site.backend.release(reference)
    assert (await site.ended(reference)).runs[0].outcome is Outcome.SUCCEEDED
    assert await site.text(reference) == "ran\n"


async def test_a_task_that_cannot_be_isolated_is_the_sites_fault_and_never_runs(site: Site) -> None:
    first = await site.start("#!/bin/sh\npwd\n")
    await site.ended(first)
    os.rmdir((await site.text(first)).strip())
    reference = await site.start("#!/bin/sh\necho ran\n")
    (run,) = (await site.ended(reference)).runs
    assert (run.outcome, run.exit_code) == (Outcome.SITE, None)
    assert run.detail == "the task could not be isolated"
    log = Path(folder(site), "submissions", reference, "supervisor.log")
    assert "could not be isolated: " in await asyncio.to_thread(log.read_text), "why is for the centre"
    assert await site.text(reference) == ""


async def test_output_that_is_removed_ends_nothing(site: Site) -> None:
    reference = await site.start("echo begun; sleep 1; echo done\n")
    await site.has_said(reference, "begun")
    folder = Path(str(site.harness.context.settings["folder"]), "submissions", reference, "logs")
    (folder / "0.stdout").unlink()
    assert (await site.ended(reference)).runs[0].outcome is Outcome.SUCCEEDED


async def test_a_missing_interpreter_is_named(site: Site) -> None:
    run = await site.run("#!/opt/no/such/python -u\nprint()\n")
    assert (run.outcome, run.exit_code) == (Outcome.USER, 127)
    assert run.detail == "the script can't be executed: there is no /opt/no/such/python"


async def test_a_task_can_open_its_own_output_anew(site: Site) -> None:
    reference = await site.start("#!/bin/sh\necho one > /dev/stdout\necho two > /dev/stderr\n")
    await site.ended(reference)
    assert (await site.text(reference), await site.text(reference, stream="stderr")) == ("one\n", "two\n")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_a_task_over_its_output_is_ended_by_the_limit_and_no_more_of_it_is_kept(
    harness: Harness, stream: str
) -> None:
    harness.context = replace(harness.context, settings={**harness.context.settings, "output_mib": 1})
    # it writes on through its grace
    script = "#!/bin/sh\ntrap '' TERM\nwhile :; do head -c 300000 /dev/zero >&{to}; sleep 0.05; done\n"
    async with harness.open() as backend:
        site = Site(harness, backend)
        reference = await site.start(script.format(to={"stdout": 1, "stderr": 2}[stream]))
        (run,) = (await site.ended(reference)).runs
        assert run.outcome is Outcome.LIMIT
        assert re.fullmatch(rf"output: \d+ MiB written to {stream}, 1 MiB allowed", run.detail)
        log = await backend.read_log(reference, 0, stream, 0, 2**20)
        assert (log.size, log.complete) == (2**20, True)


async def test_output_over_the_limit_is_found_however_short_the_task(harness: Harness) -> None:
    harness.context = replace(harness.context, settings={**harness.context.settings, "output_mib": 1})
    async with harness.open() as backend:
        site = Site(harness, backend)
        as_much = await site.run("#!/bin/sh\nhead -c 1048576 /dev/zero\n")
        more = await site.run("#!/bin/sh\nhead -c 1048577 /dev/zero\n")
    assert (as_much.outcome, as_much.detail) == (Outcome.SUCCEEDED, "")
    assert (more.outcome, more.detail) == (Outcome.LIMIT, "output: 2 MiB written to stdout, 1 MiB allowed")


async def test_a_silent_supervisor_is_among_what_changed(site: Site) -> None:
    reference = await ready(site, "#!/bin/sh\necho ready\nexec sleep 600\n")
    later = time.time() + 3600
    assert await site.backend.changed(later) == []
    os.kill(claim(site, reference)["pid"], signal.SIGKILL)
    os.utime(f"{folder(site)}/submissions/{reference}/heartbeat", (1, 1))
    assert await site.backend.changed(later) == [reference]
    await site.ended(reference)
    assert await site.backend.changed(later) == []


async def test_litter_of_a_killed_process_is_swept_when_the_site_is_opened(site: Site) -> None:
    for name, age in (("staging/old", 7200), ("staging/new", 0), ("discarded/any", 0)):
        path = f"{folder(site)}/{name}"
        os.mkdir(path)
        os.utime(path, (time.time() - age, time.time() - age))
    async with site.harness.open():
        assert os.listdir(f"{folder(site)}/staging") == ["new"]
        assert os.listdir(f"{folder(site)}/discarded") == []


async def test_output_is_read_also_while_its_submission_is_being_forgotten(site: Site) -> None:
    reference = await site.start("#!/bin/sh\necho kept\n")
    await site.ended(reference)
    os.rename(f"{folder(site)}/submissions/{reference}", f"{folder(site)}/closing/{reference}")
    read = await site.backend.read_log(reference, 0, "stdout", 0, 100)
    assert (read.data, read.complete) == (b"kept\n", True)


async def test_a_discard_and_a_forgetting_that_were_cut_off_are_finished_when_the_site_is_opened(site: Site) -> None:
    staged = await site.backend.stage(site.harness.submission("#!/bin/sh\ntrue\n"))
    files.create(f"{folder(site)}/submissions/{staged}/claim", {"by": "discard"})
    ended = await site.start("#!/bin/sh\necho kept\n")
    await site.ended(ended)
    os.rename(f"{folder(site)}/submissions/{ended}", f"{folder(site)}/closing/{ended}")
    async with site.harness.open() as backend:
        assert os.listdir(f"{folder(site)}/submissions") == []
        assert os.listdir(f"{folder(site)}/closing") == []
        assert os.listdir(f"{folder(site)}/closed/{ended}") == ["logs"], "the script and its environment are gone"
        assert (await backend.read_log(ended, 0, "stdout", 0, 100)).data == b"kept\n"


@pytest.mark.parametrize("what", ["a file", "a folder"])
async def test_a_folder_that_holds_other_things_is_refused_and_left_as_it_was(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o750)
    (folder / "thing").write_text("mine") if what == "a file" else (folder / "thing").mkdir()
    context = SiteContext(ids.new("sit"), {"folder": str(folder)}, production=False)
    with pytest.raises(SiteRefused, match="holds other things"):
        async with local.adapter.open(context):
            pass
    assert os.listdir(folder) == ["thing"]
    assert folder.stat().st_mode & 0o777 == 0o750


async def test_a_folder_is_taken_on_where_an_agent_was_killed_as_it_first_took_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise RuntimeError("kill -9")

    context = SiteContext(ids.new("sit"), {"folder": str(tmp_path / "site")}, production=False)
    with monkeypatch.context() as patched:
        patched.setattr(os, "link", killed)
        patched.setattr(os, "unlink", killed)
        with pytest.raises(RuntimeError, match="kill -9"):
            async with local.adapter.open(context):
                pass
    assert os.listdir(tmp_path / "site"), "it was killed too early to leave anything"
    async with local.adapter.open(context):
        pass


async def test_no_tenant_is_a_user_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    someone = pwd.struct_passwd(("someone", "x", 5003, 5003, "", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwall", lambda: [someone])
    monkeypatch.setattr(os, "getuid", lambda: 0)  # only root gives tenants uids
    settings = {"folder": str(tmp_path / "site"), "uid_range": [5000, 5010]}
    with pytest.raises(SiteRefused, match="someone"):
        async with local.adapter.open(SiteContext(ids.new("sit"), settings, production=False)):
            pass
    assert not (tmp_path / "site").exists()


async def test_private_and_hidden_paths_are_out_of_a_jobs_sight(tmp_path: Path) -> None:
    data, hidden = tmp_path / "data", tmp_path / "hidden"
    for path in (data, hidden):
        path.mkdir(mode=0o755)
        (path / "key").write_text("secret")
        (path / "key").chmod(0o644)
    settings = {"folder": str(data / "sites" / "one"), "hide": [str(hidden)], "i_accept_jobs_on_this_machine": True}
    harness = Harness(local.adapter, SiteContext(site=ids.new("sit"), settings=settings, private=(data,)))
    async with harness.open() as backend:
        site = Site(harness, backend)
        reference = await site.start(
            f"#!/bin/sh\nls {data}; cat {data}/key {hidden}/key; touch {data}/x; cd $HOME && touch y && ls\n"
        )
        await site.ended(reference)
        # of the platform's folder nothing is there but the way to what is the tenant's
        assert (await site.text(reference)).split() in (["sites", "y"], ["y"])
    assert not (data / "x").exists()


async def test_production_needs_consent(harness: Harness) -> None:
    settings = {**harness.context.settings, "i_accept_jobs_on_this_machine": False}
    with pytest.raises(SiteRefused, match="i_accept_jobs_on_this_machine"):
        async with local.adapter.open(SiteContext(site="sit_1", settings=settings)):
            pass
    async with local.adapter.open(SiteContext(site="sit_1", settings=settings, production=False)):
        pass


@pytest.mark.parametrize("production", [True, False])
async def test_where_the_agents_operator_wants_no_jobs_the_site_is_refused_with_what_to_do(
    harness: Harness, tmp_path: Path, production: bool
) -> None:
    with pytest.raises(SiteRefused, match=r"CARAVAN_JOBS_ON_THIS_MACHINE=true.*caravan agent"):
        async with local.adapter.open(replace(harness.context, production=production, jobs_on_this_machine=False)):
            pass
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, "folder"),
        ({"folder": "relative"}, "folder"),
        ({"folder": "/x", "unknown": 1}, "unknown"),
        ({"folder": "/x", "uid_range": [5, 6]}, "uid_range"),
        ({"folder": "/x", "uid_range": [2000, 1999]}, "uid_range"),
        ({"folder": "/x", "cpus": 0}, "cpus"),
        ({"folder": "/proc/nowhere"}, "/proc/nowhere"),
    ],
)
async def test_wrong_settings_refuse_the_site_by_name(settings: dict[str, Any], names: str) -> None:
    with pytest.raises(SiteRefused, match=names):
        async with local.adapter.open(SiteContext(site="sit_1", settings=settings, production=False)):
            pass


async def test_a_folder_belongs_to_one_site(harness: Harness, site: Site) -> None:
    with pytest.raises(SiteRefused, match="belongs to the site"):
        async with local.adapter.open(SiteContext(site="sit_other", settings=harness.context.settings)):
            pass


async def test_what_the_machine_offers_is_what_the_settings_say(harness: Harness) -> None:
    settings = {**harness.context.settings, "cpus": 3, "memory_mib": 700}
    async with local.adapter.open(SiteContext(site=harness.context.site, settings=settings)) as backend:
        (part,) = await backend.inventory()
        assert (part.nodes, part.cpus_per_node, part.memory_mib_per_node) == (1, 3, 700)
        with pytest.raises(Rejected, match="700"):
            await backend.stage(harness.submission("true", memory_mib=701))


def test_the_grant_is_what_was_asked_and_the_grace() -> None:
    resources = Resources(tasks_per_node=2, cpus_per_task=3, memory_mib_per_node=100, walltime_seconds=60)
    grant = local.adapter.grant(resources, {}, {"folder": "/x", "kill_grace_seconds": 5})
    assert (grant.nodes, grant.cpus, grant.memory_mib, grant.max_seconds) == (1, 6, 100, 65)
    assert local.adapter.grant(resources, {}, {"folder": "/x"}).max_seconds == 62
    with pytest.raises(Rejected, match="nodes"):
        local.adapter.grant(resources.model_copy(update={"nodes": 2}), {}, {})
    with pytest.raises(Rejected, match="accelerators"):
        local.adapter.grant(resources.model_copy(update={"accelerators_per_node": 1}), {}, {})


def test_a_tenants_uid_is_its_own_for_ever(tmp_path: Path) -> None:
    uid_range = (os.getuid(), os.getuid()) if os.getuid() else (610_000, 610_001)
    one = tenant(tmp_path, "ten_one", uid_range)
    assert tenant(tmp_path, "ten_one", (700_000, 700_001)) == one
    assert one.uid == uid_range[0]
    assert os.stat(one.home).st_uid == one.uid
    assert os.stat(one.home).st_mode & 0o777 == 0o700
    if uid_range[1] > uid_range[0]:
        assert tenant(tmp_path, "ten_two", uid_range).uid == uid_range[1]
    with pytest.raises(NoUidLeft, match="uid_range"):
        tenant(tmp_path, "ten_three", uid_range)


def as_another(what: str, *rest: str) -> str:
    """What tests/broker/without_root.py says."""
    command = [sys.executable, "-m", "tests.broker.without_root", what, *rest]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_contract_holds_without_root() -> None:
    """As another uid in a user namespace, where the files stay its own."""
    assert "passed" in as_another("suite")


def test_where_namespaces_are_not_allowed_the_site_is_refused_with_the_reason(tmp_path: Path) -> None:
    settings = json.dumps({"folder": str(tmp_path / "site"), "i_accept_jobs_on_this_machine": True})
    said = as_another("refused", settings)
    assert "refused: jobs can't be kept apart on this machine (user: unshare: No space left on device)" in said


def test_root_that_may_not_mount_keeps_tenants_apart_by_uid_where_they_can_reach_their_folder(tmp_path: Path) -> None:
    def say(folder: Path) -> str:
        return as_another("unmounted", json.dumps({"folder": str(folder), "i_accept_jobs_on_this_machine": True}))

    closed = say(tmp_path / "site")
    with tempfile.TemporaryDirectory(prefix="caravan-open-") as folder:
        os.chmod(folder, 0o755)
        reached = say(Path(folder) / "site")
    if os.getuid() == 0:
        assert "refused" in closed
        assert "Permission denied" in closed
        assert reached.split() == ["610000", "closed", "x"]
    else:  # where no one is root, no one needs to mount: a user namespace does
        assert closed.split() == reached.split() == [str(os.getuid()), "closed", "x"]
