"""Pods' output: copied once, followed by one request while somebody asks, and kept when its pod is gone."""

import asyncio
import errno
import gc
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from caravan.contracts.jobs import Outcome
from caravan.kernel import clock
from services.broker.adapters.kubernetes import copies, lives, outputs, records
from services.broker.adapters.kubernetes.backend import KubernetesBackend
from services.broker.adapters.kubernetes.records import Pod
from services.broker.adapters.kubernetes.reference import SITE
from services.broker.adapters.port import LogBytes, Unavailable
from tests.broker.kubernetes_answers import ENDED, OURS, STARTED, at, ended, job, meshed, pod, running
from tests.broker.kubernetes_double import ApiServer, opened, status
from tests.broker.test_kubernetes_watch import REFERENCE, finish, has_ended, look, until

NAME = f"{OURS.name}-0-abcde"
FOLLOW = f"follow {NAME}"
GONE = b"unable to retrieve container logs for containerd://" + b"0f" * 32


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "AGAIN_SECONDS", 0.01)


@pytest.fixture
def server() -> ApiServer:
    """A task of it runs and has written ten bytes."""
    made = ApiServer()
    made.put("jobs", job())
    made.put("pods", pod(running()))
    made.logs[NAME] = b"0123456789"
    made.running.add(NAME)
    return made


def end(server: ApiServer) -> None:
    server.running.discard(NAME)
    finish(server)


async def read(backend: KubernetesBackend, offset: int = 0, limit: int = 10_000) -> LogBytes:
    return await backend.read_log(REFERENCE, 0, "stdout", offset, limit)


def kept(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.glob("*/*")]


async def test_a_log_that_is_followed_is_given_twice_however_often_it_is_read(server: ApiServer) -> None:
    async with opened(server) as backend:
        await look(backend)
        assert (await read(backend)).data == b"0123456789"
        await until(lambda: FOLLOW in server.given)
        for number in range(200):
            server.logs[NAME] += b"%07d\n" % number
            size = len(server.logs[NAME])

            async def caught_up(size: int = size) -> bool:
                return (await read(backend)).size == size

            await until(caught_up)
        found = await read(backend, 500, 100)
        assert (found.data, found.offset, found.complete) == (server.logs[NAME][500:600], 500, False)
        assert (await read(backend, -9, 5)).data == server.logs[NAME][-9:-4]
        assert (await read(backend, 10**6)).offset == len(server.logs[NAME])
        assert server.given == [NAME, FOLLOW]
        server.logs[NAME] += b"last"
        end(server)
        await until(lambda: has_ended(backend))
        whole = await read(backend)
        assert (whole.data, whole.complete) == (server.logs[NAME], True)
        assert (await read(backend, 3, 4)).data == server.logs[NAME][3:7]
        assert server.given == [NAME, FOLLOW, NAME]


async def test_a_folder_that_cannot_be_looked_into_hides_no_pod(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(server, tmp_path) as backend:
        await look(backend)

        def stale(path: Path) -> bool:
            raise OSError(errno.ESTALE, "Stale file handle")

        with monkeypatch.context() as lost:
            lost.setattr(Path, "exists", stale)
            backend._outputs.see(records.pod(pod(ended())))
            finish(server)
            assert (await until(lambda: has_ended(backend))).runs[0].outcome is Outcome.SUCCEEDED
        assert await backend.probe() == ()


async def test_a_node_that_is_silent_is_not_asked_for_output_that_others_would_wait_behind(server: ApiServer) -> None:
    """The API server would try to reach it for half a minute, each time. What was copied before is still read."""
    silent = pod(running(), conditions={"Ready": {"status": "False", "lastTransitionTime": at(STARTED + 50)}})
    async with opened(server) as backend:
        await look(backend)
        assert (await read(backend)).data == b"0123456789"
        server.put("pods", silent)
        await until(lambda: backend._submissions.silent_nodes())
        assert (await read(backend, 4)).data == b"456789"
    server.given.clear()
    async with opened(server) as backend:
        await look(backend)
        with pytest.raises(Unavailable, match="n0"):
            await read(backend)
    assert server.given == []


async def test_of_several_containers_the_output_of_the_jobs_own_is_read(server: ApiServer) -> None:
    server.put("pods", meshed(pod(running()), running()))
    async with opened(server) as backend:
        await look(backend)
        assert (await read(backend)).data == b"0123456789"
        await until(lambda: server.streams)


async def test_a_stream_that_broke_off_goes_on_where_it_was(server: ApiServer) -> None:
    async with opened(server) as backend:
        await look(backend)
        await read(backend)
        for _ in range(3):
            follows = server.given.count(FOLLOW)
            server.cut()
            server.logs[NAME] += b"after a cut\n"
            await until(lambda follows=follows: server.given.count(FOLLOW) > follows)  # type: ignore[misc]

        async def caught_up() -> bool:
            return (await read(backend)).data == server.logs[NAME]

        await until(caught_up)


async def test_a_log_may_be_asked_for_before_its_stream_is_begun_again(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "AGAIN_SECONDS", 60)
    async with opened(server) as backend:
        await look(backend)
        await read(backend)
        await until(lambda: server.streams)
        server.cut()
        await until(lambda: not server.streams)
        for _ in range(5):
            assert (await read(backend)).data == b"0123456789"
            await asyncio.sleep(0.01)


async def test_what_nobody_asks_for_is_followed_no_more(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "IDLE_SECONDS", 0.05)
    async with opened(server) as backend:
        await look(backend)
        await read(backend)
        await until(lambda: not asyncio_tasks("log:"))
        server.logs[NAME] += b" and more"
        assert (await read(backend)).data == b"0123456789 and more"


async def test_of_more_than_can_be_followed_each_read_gives_what_there_is(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "FOLLOWED", 0)
    async with opened(server) as backend:
        await look(backend)
        for _ in range(3):
            assert (await read(backend)).data == server.logs[NAME]
            server.logs[NAME] += b"more"
        assert server.given == [NAME] * 3


async def test_output_is_kept_when_its_job_is_gone_and_also_found_by_another_agent(
    server: ApiServer, tmp_path: Path
) -> None:
    async with opened(server, tmp_path) as backend:
        await look(backend)
        end(server)
        await until(lambda: kept(tmp_path) == [b"0123456789"])
        await backend.forget(REFERENCE)
    assert server.objects["jobs"][OURS.name]["spec"]["ttlSecondsAfterFinished"] == 86_400
    server.remove("pods", NAME)
    server.remove("jobs", OURS.name)
    server.logs.clear()
    async with opened(server, tmp_path) as backend:
        found = await read(backend, -4)
        assert (found.data, found.offset, found.size, found.complete) == (b"6789", 6, 10, True)
        with pytest.raises(FileNotFoundError):
            await backend.read_log(REFERENCE, 1, "stdout", 0, 10)


async def test_an_agent_that_has_not_heard_of_pods_yet_does_not_say_that_there_is_no_output(server: ApiServer) -> None:
    """Jobs and pods are listed apart. Who follows the output would begin it anew, or take it for lost."""
    server.answers["GET pods"] = status(500)
    async with opened(server) as backend:
        await backend._jobs.ready()
        reading = asyncio.create_task(read(backend, 4))
        await asyncio.sleep(0)
        del server.answers["GET pods"]
        assert (await reading).data == b"456789"


async def test_a_log_that_the_kubelet_has_no_more_leaves_what_was_read(server: ApiServer) -> None:
    """It answers 200, and says so in words."""
    async with opened(server) as backend:
        await look(backend)
        await read(backend)
        await until(lambda: FOLLOW in server.given)
        server.running.discard(NAME)
        await until(lambda: not server.streams)
        server.logs[NAME] = GONE
        finish(server)
        await until(lambda: has_ended(backend))
        assert (await read(backend)).data == b"0123456789"


@pytest.mark.parametrize("lasting", [True, False])
async def test_a_job_whose_output_is_kept_nowhere_else_stays_as_long_as_it(
    server: ApiServer, tmp_path: Path, *, lasting: bool
) -> None:
    """The kubelet can't be asked, or the agent has no folder."""
    async with opened(server, tmp_path if lasting else None) as backend:
        await look(backend)
        if lasting:
            server.answers["GET log"] = status(500, "dial tcp: connection refused")
        end(server)
        await until(lambda: has_ended(backend))
        await backend.forget(REFERENCE)
    assert server.objects["jobs"][OURS.name]["spec"]["ttlSecondsAfterFinished"] == 7 * 86_400


class Silent(httpx.AsyncByteStream):
    """A log of a node that says nothing any more."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""


async def test_output_that_does_not_come_keeps_nothing_from_being_forgotten(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lives, "KEEP_SECONDS", 0.05)
    async with opened(server, tmp_path) as backend:
        await look(backend)
        server.answers["GET log"] = httpx.Response(200, stream=Silent())
        end(server)
        await until(lambda: has_ended(backend))
        await asyncio.wait_for(backend.forget(REFERENCE), 10)
        assert asyncio_tasks("log:")
    assert server.objects["jobs"][OURS.name]["spec"]["ttlSecondsAfterFinished"] == 7 * 86_400
    assert SITE not in server.objects["pods"][NAME]["metadata"]["labels"]


async def test_what_is_cancelled_leaves_what_it_wrote_until_its_end(server: ApiServer) -> None:
    """Its log goes with its pod."""
    server.before["DELETE jobs"] = lambda: server.put("pods", pod(running(), deleted=ENDED))
    async with opened(server) as backend:
        await look(backend)
        await backend.cancel(REFERENCE)
        assert server.given[0] == NAME
        await until(lambda: FOLLOW in server.given)
        server.logs[NAME] += b" told to end"
        server.running.discard(NAME)
        await until(lambda: not server.streams)
        text = server.logs.pop(NAME)
        server.put("pods", pod(ended(137), deleted=ENDED))
        await until(lambda: has_ended(backend))
        assert (await read(backend)).data == text


async def test_a_cancel_of_what_has_no_output_leaves_no_error_that_nobody_hears_of(server: ApiServer) -> None:
    unheard: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: unheard.append(told["message"]))
    server.logs.clear()
    async with opened(server) as backend:
        await look(backend)
        await backend.cancel(REFERENCE)
        assert server.given == [NAME]
        gc.collect()
    assert unheard == []


async def test_what_could_not_be_read_to_its_end_says_so(server: ApiServer) -> None:
    async with opened(server) as backend:
        await look(backend)
        await read(backend)
        await until(lambda: FOLLOW in server.given)
        server.cut()
        del server.logs[NAME]
        server.put("pods", pod(ended(137), deleted=ENDED))
        server.remove("jobs", OURS.name)
        await until(lambda: has_ended(backend))
        text = (await read(backend)).data.decode()
        assert text.startswith("0123456789\n[caravan: ")
        assert "the end of the output could not be read" in text


@pytest.mark.parametrize("pieces", [1, 7, 500])
async def test_what_the_kubelet_says_of_a_log_that_is_gone_is_no_output(pieces: int) -> None:
    folder = b"/var/log/pods/acme_a-0_1/task/0.log"

    async def read(text: bytes) -> bytes:
        content = [text[at : at + pieces] for at in range(0, len(text), pieces)]

        async def come() -> AsyncIterator[bytes]:
            for piece in content:
                yield piece

        response = httpx.Response(200, content=come())
        return b"".join([chunk async for chunk in copies.written(response)])

    for lost in (
        GONE,
        b'failed to try resolving symlinks in path "%s": lstat %s: no such file or directory' % (folder, folder),
    ):
        with pytest.raises(FileNotFoundError):
            await read(lost)
    notes = b"unable to retrieve my notes"
    for text in (b"", b"unable", notes, GONE + b"\n", GONE + b" and more" * 200, b"\n" + GONE):
        assert await read(text) == text


async def followed(server: ApiServer, backend: KubernetesBackend) -> None:
    """Until all that is there has been read."""

    async def caught_up() -> bool:
        return (await read(backend)).data.endswith(server.logs[NAME])

    await until(caught_up)


ANEW = "the node began the log anew: here output may be missing or twice"


@pytest.mark.parametrize("text", [b"abc", b"0123456789", b"0123", b"01234 and other things", b""])
async def test_who_follows_a_log_goes_on_where_the_node_begins_it_anew(server: ApiServer, text: bytes) -> None:
    async with opened(server) as backend:
        await look(backend)
        await read(backend)
        await until(lambda: server.streams)
        server.rotate(NAME, text)

        async def caught_up() -> bool:
            return (await read(backend)).data == b"0123456789" + text

        await until(caught_up)
        end(server)
        await until(lambda: has_ended(backend))
        assert await caught_up()
        assert server.given == [NAME, FOLLOW, NAME]


@pytest.mark.parametrize("text", [b"abc", b"0123", b"01234 and other things", b"0123456780 and other things"])
async def test_a_log_that_the_node_began_anew_after_a_cut_is_not_gone_on_with_as_if_it_were_the_same(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    monkeypatch.setattr(copies, "AGAIN_SECONDS", 60)
    async with opened(server) as backend:
        await look(backend)
        await read(backend)
        await until(lambda: server.streams)
        server.cut()
        await until(lambda: not server.streams)
        server.rotate(NAME, text)
        end(server)
        await until(lambda: has_ended(backend))
        found = (await read(backend)).data
        before, _, after = found.partition(b"\n[caravan: ")
        words, _, rest = after.partition(b"]\n")
        assert (before, rest) == (b"0123456789", text)
        assert ANEW in words.decode()


async def test_what_is_followed_again_after_the_node_began_the_log_anew_says_so_once(server: ApiServer) -> None:
    async with opened(server) as backend:
        await look(backend)
        await read(backend)
        await until(lambda: server.streams)
        server.rotate(NAME, b"0123 another part\n")
        server.cut()
        await followed(server, backend)
        await until(lambda: server.streams)
        server.cut()
        server.logs[NAME] += b"and more of it"
        await followed(server, backend)
        end(server)
        await until(lambda: has_ended(backend))
        found = (await read(backend)).data
        assert found.endswith(b"]\n0123 another part\nand more of it")
        assert found.decode().count(ANEW) == 1


async def test_a_stream_that_only_seemed_to_end_with_its_container_is_no_proof_that_nothing_was_missed(
    server: ApiServer,
) -> None:
    async with opened(server) as backend:
        await look(backend)
        await read(backend)
        await until(lambda: server.streams)
        server.running.discard(NAME)
        await until(lambda: not server.streams)
        server.rotate(NAME, b"written later")
        end(server)
        await until(lambda: has_ended(backend))
        assert ANEW in (await read(backend)).data.decode()


@pytest.mark.parametrize(
    ("size", "before_seconds", "seconds", "lacks"),
    [
        (2**20, 0, 60, False),
        (2**20, 12, 600, False),
        (9 * 2**20, 3600, 36_000, False),
        (9 * 2**20, 3600, 360, True),
        (2**20, 60, 3, True),
        (2**16, 3600, 0, True),
    ],
)
def test_the_beginning_is_taken_for_lost_where_as_much_before_would_have_been_too_much(
    size: int, before_seconds: int, seconds: int, lacks: bool
) -> None:
    assert copies.lacks_its_beginning(size, before_seconds, seconds) is lacks


@pytest.mark.parametrize("ends", [True, False])
async def test_a_log_of_which_only_the_end_is_left_says_so_first(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    monkeypatch.setattr(copies, "ANEW_BYTES", 0)
    text = b"the last lines\n" * 5000
    server.logs[NAME], server.first_written = text, STARTED + 40
    if ends:
        end(server)
    async with opened(server) as backend:
        await look(backend)
        words, _, rest = (await read(backend, 0, 2**20)).data.partition(b"\n")
        assert words.decode() == (
            "[caravan: 节点的日志从启动 40 秒后开始，此前的输出可能缺失 "
            "the node's log begins 40 s after the start: output before may be missing]"
        )
        assert rest == text
        assert server.given[:2] == [NAME, f"first {NAME}"]
        if not ends:
            await until(lambda: FOLLOW in server.given)
            server.logs[NAME] = text = text + b"more"
            end(server)
            await until(lambda: has_ended(backend))
            assert (await read(backend, 0, 2**20)).data == words + b"\n" + text
            assert server.given == [NAME, f"first {NAME}", FOLLOW, NAME]


async def test_of_a_short_log_nobody_asks_when_it_began(server: ApiServer) -> None:
    server.first_written = STARTED + 40
    end(server)
    async with opened(server) as backend:
        await look(backend)
        assert (await read(backend)).data == b"0123456789"
        assert server.given == [NAME]


async def test_more_than_is_kept_is_cut_and_said_to_be(server: ApiServer, tmp_path: Path) -> None:
    server.logs[NAME] = bytes(range(256)) * 4096 + b"x"
    async with opened(server, tmp_path, keep_output_mib=1) as backend:
        end(server)
        await until(lambda: kept(tmp_path))
        found = await read(backend, 0, 2**21)
        assert found.data[: 2**20] == bytes(range(256)) * 4096
        assert "more than 1 MiB were written" in found.data[2**20 :].decode()
        assert found.complete


async def test_exactly_as_much_as_is_kept_is_not_cut(server: ApiServer, tmp_path: Path) -> None:
    server.logs[NAME] = bytes(2**20)
    async with opened(server, tmp_path, keep_output_mib=1):
        end(server)
        await until(lambda: kept(tmp_path) == [bytes(2**20)])


async def test_of_many_that_have_ended_few_have_a_file_open_at_once(tmp_path: Path) -> None:
    asked: list[str] = []
    answered = asyncio.Event()

    @asynccontextmanager
    async def stream(pod: Pod, how: Mapping[str, str]) -> AsyncIterator[httpx.Response]:
        asked.append(pod.name)
        await answered.wait()
        yield httpx.Response(200, content=b"text")

    kept_outputs = outputs.Outputs(tmp_path, stream, 1, lasting=True)
    for place in range(100):
        kept_outputs.see(records.pod(pod(ended(), uid=f"{place}", place=place, indices="0-99")))
    await until(lambda: asked)
    assert len(os.listdir(tmp_path)) == outputs.AT_ONCE
    answered.set()
    await until(lambda: kept(tmp_path) == [b"text"] * 100)
    assert len(asked) == 100


async def test_a_folder_that_a_sweep_removes_before_anything_is_in_it_is_made_again(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename
    swept: list[Path] = []

    def sweep_first(source: str, target: Path) -> None:
        if not swept:
            swept.append(target.parent)
            target.parent.rmdir()
        rename(source, target)

    monkeypatch.setattr(os, "rename", sweep_first)
    async with opened(server, tmp_path) as backend:
        await look(backend)
        end(server)
        await until(lambda: kept(tmp_path) == [b"0123456789"])
    assert swept


async def test_a_folder_that_is_full_is_no_end_of_the_watch(server: ApiServer, tmp_path: Path) -> None:
    async with opened(server, tmp_path / "not there") as backend:
        await look(backend)
        with pytest.raises(Unavailable, match="can't be copied"):
            await read(backend)
        end(server)
        await until(lambda: has_ended(backend))
        await backend.forget(REFERENCE)
    assert server.objects["jobs"][OURS.name]["spec"]["ttlSecondsAfterFinished"] == 7 * 86_400


async def test_what_was_kept_for_long_enough_is_removed(server: ApiServer, tmp_path: Path) -> None:
    """Also what was half copied by who was killed."""
    old, half = tmp_path / "job-1" / "0.1", tmp_path / f"{copies.PARTIAL}abc"
    new = tmp_path / "job-2" / "0.1"
    for path in (old, half, new):
        path.parent.mkdir(exist_ok=True)
        path.write_text("text")
    for path in (old, half):
        os.utime(path, (clock.now().timestamp() - 100,) * 2)
    async with opened(server, tmp_path, keep_output_seconds=50):
        await until(lambda: not old.parent.exists() and not half.exists())
    assert new.exists()


def asyncio_tasks(name: str) -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if task.get_name().startswith(name)]
