"""What a person writes for a job, and the spec that it means."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from caravan.cli import app
from caravan.cli.spec import Wanted, array, memory_mib, seconds
from caravan.contracts.spec import Container, JobSpec

PROJECT = "prj_" + "0" * 32
NOTHING: dict[str, Any] = dict.fromkeys(Wanted.__dataclass_fields__)


def spec(**given: Any) -> JobSpec:
    return Wanted(**(NOTHING | {"project": PROJECT} | given)).job_spec(list)


@pytest.mark.parametrize(
    ("text", "meant"),
    [("90", 90), ("90s", 90), ("15m", 900), ("2h30m", 9000), ("1d", 86_400), ("15:00", 900), ("1:30:00", 5400)],
)
def test_durations_are_read_as_people_write_them(text: str, meant: int) -> None:
    assert seconds(text) == meant


@pytest.mark.parametrize("text", ["", "soon", "1.5h", "-3", "1:2:3:4"])
def test_a_duration_that_is_none_ends_the_command(text: str) -> None:
    with pytest.raises(typer.Exit):
        seconds(text)


@pytest.mark.parametrize(("text", "meant"), [("512", 512), ("512M", 512), ("4G", 4096), ("4GiB", 4096), ("1T", 2**20)])
def test_memory_is_mib_without_a_unit(text: str, meant: int) -> None:
    assert memory_mib(text) == meant


@pytest.mark.parametrize(
    ("text", "indices", "at_once"),
    [
        ("0-3", [0, 1, 2, 3], None),
        ("1,5,7", [1, 5, 7], None),
        ("0-9:3%2", [0, 3, 6, 9], 2),
        ("0-1,8", [0, 1, 8], None),
    ],
)
def test_arrays_are_written_as_in_slurm(text: str, indices: list[int], at_once: int | None) -> None:
    meant = array(text)
    assert meant["indices"] == indices
    assert meant.get("max_parallel") == at_once


@pytest.mark.parametrize("text", ["", "x", "3-", "3-1", "0-9:0", "0-3%", "0-3%0", "0-99999999999"])
def test_an_array_that_is_none_ends_the_command(text: str) -> None:
    with pytest.raises(typer.Exit):
        array(text)


def test_a_command_becomes_a_script_that_keeps_its_words() -> None:
    made = spec(command=["echo", "two words", "$HOME"], walltime="60")
    assert made.script == "#!/bin/sh\nexec echo 'two words' '$HOME'\n"
    assert made.name == "echo"


def test_a_command_with_an_image_is_a_container_word_by_word(tmp_path: Path) -> None:
    made = spec(image="docker://python:3.13", command=["python3", "-c", "print('$HOME')"])
    assert made.script is None
    assert made.container == Container(image="docker://python:3.13", command=("python3", "-c", "print('$HOME')"))
    alone = spec(image="/shared/images/solver.sif")
    assert (alone.container, alone.name) == (Container(image="/shared/images/solver.sif"), "solver.sif")
    file = tmp_path / "spec.json"
    file.write_text(json.dumps({"project": PROJECT, "script": "true"}))
    assert spec(spec=file, image="/a.sif").container == Container(image="/a.sif")
    file.write_text(json.dumps({"project": PROJECT, "container": {"image": "/a.sif", "args": ["x"]}}))
    assert spec(spec=file).container == Container(image="/a.sif", args=("x",))


def test_options_become_the_fields_of_the_spec(tmp_path: Path) -> None:
    script = tmp_path / "wing.sh"
    script.write_text("#!/bin/sh\ntrue\n")
    made = spec(
        script=script,
        cpus=2,
        memory="1G",
        walltime="1h",
        array="0-3%2",
        env=["MESH=fine", "EMPTY="],
        options=["qos=high"],
        labels=["team=wing"],
        tiers=["hpc"],
        max_cost="12.00",
    )
    assert made.name == "wing"
    assert made.resources.cpus_per_task == 2
    assert made.resources.memory_mib_per_node == 1024
    assert made.resources.walltime_seconds == 3600
    assert made.array is not None and made.array.max_parallel == 2
    assert made.environment == {"MESH": "fine", "EMPTY": ""}
    assert made.options == {"qos": "high"}
    assert made.labels == {"team": "wing"}
    assert [tier.value for tier in made.where.tiers] == ["hpc"]
    assert str(made.max_cost) == "12.00"


def test_options_replace_fields_of_a_spec_file(tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text(
        json.dumps(
            {
                "name": "a",
                "project": PROJECT,
                "script": "true",
                "resources": {"walltime_seconds": 60, "cpus_per_task": 4},
            }
        )
    )
    made = spec(spec=file, project=None, walltime="2m")
    assert made.name == "a"
    assert made.resources.walltime_seconds == 120
    assert made.resources.cpus_per_task == 4


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"command": ["true"], "project": None},
        {"command": ["true"], "script": Path("/dev/null")},
        {"script": Path("/does/not/exist")},
        {"script": Path("/dev/null"), "image": "/a.sif"},
        {"image": "not an image"},
        {"command": ["true"], "env": ["no-equals"]},
        {"command": ["true"], "project": "someone"},
        {"command": ["true"], "spec": Path("/dev/null")},
        {"command": ["true"], "max_cost": "twelve"},
    ],
)
def test_what_makes_no_job_ends_the_command(given: dict[str, Any]) -> None:
    with pytest.raises(typer.Exit) as ended:
        spec(**given)
    assert ended.value.exit_code == 2


@pytest.mark.parametrize("part", ["resources", "where"])
def test_a_part_of_a_spec_that_is_no_object_ends_the_command(tmp_path: Path, part: str) -> None:
    file = tmp_path / "spec.json"
    file.write_text(json.dumps({"project": PROJECT, "script": "true", part: [1, 2]}))
    with pytest.raises(typer.Exit) as ended:
        spec(spec=file, project=None)
    assert ended.value.exit_code == 2


@pytest.mark.parametrize("token", ["令牌", "a\nb", "a b"])
def test_what_is_no_token_ends_the_command_and_is_not_shown(token: str) -> None:
    done = CliRunner().invoke(app, ["jobs", "list"], env={"CARAVAN_TOKEN": token})
    assert done.exit_code == 2
    assert "copy it again" in done.stderr
    assert token not in done.output
