"""What tests and proofs start finds bytecode of what was started before it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import bytecode

FORBIDDEN = "PYTHONDONTWRITEBYTECODE"


def imported(folder: Path) -> str:
    """Where a program finds the bytecode of a module of the folder, which it imports."""
    command = [sys.executable, "-c", "import plain; print(plain.__cached__)"]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder).stdout.strip()


def test_bytecode_is_kept_for_the_next_program_until_the_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("")
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    monkeypatch.setenv(FORBIDDEN, "1")
    with bytecode.kept():
        kept = Path(imported(tmp_path))
        assert kept.exists()
    assert not kept.exists()
    assert os.environ[FORBIDDEN] == "1" and not Path(imported(tmp_path)).exists()


def test_where_it_may_be_written_nothing_changes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("")
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    monkeypatch.delenv(FORBIDDEN, raising=False)
    with bytecode.kept():
        assert imported(tmp_path).startswith(str(tmp_path / "__pycache__"))
