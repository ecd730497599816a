"""A folder of the cache is made once for what goes into it, and only a whole one is ever found there."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.backends.shelf import kept


def test_a_folder_is_made_once_for_the_same_inputs_also_by_several_at_once(tmp_path: Path) -> None:
    made: list[Path] = []
    meeting = threading.Barrier(2)

    def make(folder: Path) -> None:
        folder.mkdir()
        made.append(folder)
        with suppress(threading.BrokenBarrierError):
            meeting.wait(0.3)  # where another one makes it at the same time, they meet

    def ask() -> Path:
        return kept(tmp_path, "part", "inputs", make)

    with ThreadPoolExecutor() as pool:
        first, second = pool.submit(ask), pool.submit(ask)
    assert first.result() == second.result() and first.result().is_dir()
    assert len(made) == 1
    assert kept(tmp_path, "part", "other inputs", make) != first.result()
    assert len(made) == 2


def test_what_fails_half_way_is_made_anew(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        folder.mkdir()
        (folder / "half").touch()
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        kept(tmp_path, "part", "inputs", fail)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert list(kept(tmp_path, "part", "inputs", Path.mkdir).iterdir()) == []


def test_what_was_left_by_one_that_was_killed_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".fresh.killed/made").mkdir(parents=True)
    folder = kept(tmp_path, "part", "inputs", Path.mkdir)
    assert {path.name for path in tmp_path.iterdir()} == {".lock", folder.name}
