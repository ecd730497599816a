"""What `#SBATCH` lines mean: as sbatch(1) says, and nothing left out in silence."""

import json
import math
from collections.abc import Callable, Sequence
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from caravan.cli import app, sbatch
from caravan.cli.sbatch import options, values
from caravan.cli.spec import Wanted
from caravan.contracts.offerings import Accelerator
from caravan.contracts.spec import JobSpec

ROOT = Path(__file__).parents[2]
CATALOG = [
    Accelerator.model_validate_json(json.dumps(one))
    for one in json.loads((ROOT / "services/catalog/sites/accelerators.json").read_text())
]
NOTHING: dict[str, Any] = dict.fromkeys(Wanted.__dataclass_fields__) | {"project": "prj_" + "0" * 32}


def read(*lines: str, environ: dict[str, str] | None = None, **decided: Any) -> sbatch.Request:
    script = "\n".join(["#!/bin/bash", *(f"#SBATCH {line}" for line in lines), "echo hello", ""])
    return sbatch.read(script, decided, environ or {})


def resources(*lines: str, **decided: Any) -> dict[str, Any]:
    """What is asked for; without errors."""
    request = read(*lines, **decided)
    assert not request.errors
    return {name: value for name, value in request.resources.items() if value is not None}


def errors(*lines: str, **decided: Any) -> list[str]:
    return [str(one) for one in read(*lines, **decided).errors]


def warnings(*lines: str, **decided: Any) -> list[str]:
    """Without those about lines that are missing."""
    return [str(one) for one in read(*lines, **decided).warnings if one.line is not None]


@pytest.mark.parametrize("line", ["--time=90", "--time 90", "-t 90", "-t90", "-Qt90", "--time=90 # an hour and a half"])
def test_an_option_is_spelt_as_getopt_takes_it(line: str) -> None:
    assert resources(line) == {"walltime_seconds": 5400}


def test_quotes_keep_words_together_and_several_options_stand_on_a_line() -> None:
    request = read("""-J "wing of a # plane" -N2 --comment='two words'""")
    assert request.fields["name"] == "wing of a # plane" and request.resources["nodes"] == 2
    assert [str(one) for one in request.warnings][-1] == (
        "line 2: --comment=two words: it isn't kept; --label name=value is"
    )


def test_an_unambiguous_beginning_of_a_name_will_do() -> None:
    assert read("--job=wing").fields["name"] == "wing" and read("--tasks=4").resources["tasks_per_node"] == 4


def test_the_last_of_two_wins() -> None:
    assert resources("-t 1", "--time=2")["walltime_seconds"] == 120


def test_lines_count_before_the_first_command_only_and_others_are_named() -> None:
    script = "#!/bin/sh\n##SBATCH -N9\n# SBATCH -N8\n\n  # words\n#SBATCH -c2\n\ndate\n#SBATCH -c4\n"
    request = sbatch.read(script, {}, {})
    assert request.resources["cpus_per_task"] == 2 and request.resources["nodes"] is None
    assert "line 9: #SBATCH -c4: it stands after the first command, where sbatch doesn't read it" in map(
        str, request.warnings
    )


def test_a_script_without_lines_asks_for_nothing_and_says_nothing() -> None:
    assert sbatch.read("#!/bin/sh\necho '#SBATCH'\n", {}, {}) == sbatch.Request()


def test_what_the_platform_takes_for_missing_lines_is_said() -> None:
    said = [str(one) for one in read("-J a").warnings]
    assert len(said) == 2 and "1 hour" in said[0] and "1024 MiB per node" in said[1]
    assert not read("-J a", walltime_seconds=60, memory_mib_per_node=64).warnings
    assert not read("-t 5", "--mem=1G").warnings


@pytest.mark.parametrize(
    ("lines", "meant"),
    [
        (["-N 2"], {"nodes": 2}),
        (["--nodes=2-2"], {"nodes": 2}),
        (["-N 1k"], {"nodes": 1024}),
        (["-n 1"], {"nodes": 1, "tasks_per_node": 1}),
        (["-n 8"], {"nodes": 1, "tasks_per_node": 8}),
        (["-n 8", "-N 2"], {"nodes": 2, "tasks_per_node": 4}),
        (["-n 8", "-N 3-5"], {"nodes": 4, "tasks_per_node": 2}),
        (["-n 8", "--ntasks-per-node=4"], {"nodes": 2, "tasks_per_node": 4}),
        (["-n 6", "--ntasks-per-node=4"], {"nodes": 2, "tasks_per_node": 3}),
        (["-n 2", "-N 4"], {"nodes": 2, "tasks_per_node": 1}),
        (["-N 2", "--ntasks-per-node=4", "-c 8"], {"nodes": 2, "tasks_per_node": 4, "cpus_per_task": 8}),
        (["--mem=4G"], {"memory_mib_per_node": 4096}),
        (["--mem-per-cpu=512M", "-c4"], {"cpus_per_task": 4, "memory_mib_per_node": 2048}),
        (
            ["--mem-per-cpu=1G", "-c4", "-n 8", "-N 2"],
            {"nodes": 2, "tasks_per_node": 4, "cpus_per_task": 4, "memory_mib_per_node": 16384},
        ),
        (["--mem-per-gpu=8G", "--gres=gpu:2"], {"accelerators_per_node": 2, "memory_mib_per_node": 16384}),
        (["--gres=gpu"], {"accelerators_per_node": 1}),
        (["--gres=gpu:2"], {"accelerators_per_node": 2}),
        (["--gres=gpu:h100:2"], {"accelerators_per_node": 2}),
        (["--gres=gres/gpu:h100:2"], {"accelerators_per_node": 2}),
        (["--gres=none"], {"accelerators_per_node": 0}),
        (["--gpus-per-node=h100:4"], {"accelerators_per_node": 4}),
        (["-G 8", "-N 2"], {"nodes": 2, "accelerators_per_node": 4}),
        (["--gpus=h100:8", "-n 8", "--ntasks-per-node=4"], {"nodes": 2, "tasks_per_node": 4, "accelerators_per_node": 4}),
        (["--gpus-per-task=1", "-n 4"], {"nodes": 1, "tasks_per_node": 4, "accelerators_per_node": 4}),
        (["--gres=gpu:2", "--gpus-per-node=2"], {"accelerators_per_node": 2}),
    ],
)  # fmt: skip
def test_lines_become_resources(lines: list[str], meant: dict[str, Any]) -> None:
    assert resources(*lines) == meant


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("--gres=gpu:2", None),
        ("--gres=gpu:h100:2", "h100"),
        ("--gres=dcu:4", "dcu"),
        ("-G a100:1", "a100"),
        ("--gres=gpu:h100:0", None),
    ],
)
def test_the_kind_of_an_accelerator_is_kept_as_written(line: str, kind: str | None) -> None:
    request = read(line)
    assert (request.kind[1] if request.kind else None) == kind and not request.errors


@pytest.mark.parametrize(
    ("kind", "meant"),
    [
        ("acc_nvidia-h100-80g", "acc_nvidia-h100-80g"),
        ("nvidia-h100-80g", "acc_nvidia-h100-80g"),
        ("h100", "acc_nvidia-h100-80g"),
        ("H100_80G", "acc_nvidia-h100-80g"),
        ("v100-32g", "acc_nvidia-v100-32g"),
        ("910b3", "acc_ascend-910b3-64g"),
        ("昇腾910A", "acc_ascend-910a-32g"),
    ],
)
def test_a_kind_is_found_by_id_name_or_words(kind: str, meant: str) -> None:
    assert sbatch.match(kind, CATALOG).id == meant


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("a100", "'a100' may be any of acc_nvidia-a100-40g, acc_nvidia-a100-80g; say which"),
        ("toaster", "'toaster' is no accelerator of the catalog, which has acc_nvidia-p100-16g, "),
        ("-", "is no accelerator of the catalog"),
    ],
)
def test_a_kind_that_is_not_one_says_what_there_is(kind: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sbatch.match(kind, CATALOG)
    with pytest.raises(ValueError, match="which has none"):
        sbatch.match(kind, [])


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["-N 4-2"], "line 2: -N 4-2: the smaller number comes first"),
        (["-N 0"], "line 2: -N 0: write a number from 1"),
        (["-N x"], "line 2: -N x: write a number, or the least and the most"),
        (["-n 7", "-N 2"], "line 2: -n 7: each node has the same number of tasks here, and 7 don't go over 2 nodes"),
        (["-n 7", "-N 2-3"], "line 2: -n 7: each node has the same number of tasks here, and 7 don't go over 2 to 3 nodes"),
        (["-n 7", "--ntasks-per-node=4"], "7 don't go over 2 nodes, at most 4 on each"),
        (["-n 8", "-N 2", "--ntasks-per-node=3"], "8 don't go over 2 nodes, at most 3 on each"),
        (["-c many"], "line 2: -c many: write a number from 1"),
        (["--mem=0"], "line 2: --mem=0: 0 is all of a node's memory for Slurm; write how much"),
        (["--mem=4X"], "line 2: --mem=4X: write a number with K, M, G or T"),
        (["--mem=1G", "--mem-per-cpu=1G"], "line 3: --mem-per-cpu=1G: it excludes --mem; remove one"),
        (["--mem-per-gpu=1G"], "line 2: --mem-per-gpu=1G: the job has no accelerators; write --mem"),
        (["--time=0"], "line 2: --time=0: 0 is no limit for Slurm"),
        (["--time=UNLIMITED"], "line 2: --time=UNLIMITED: a job has an end here"),
        (["--time=soon"], "line 2: --time=soon: write minutes, m:s, h:m:s"),
        (["--time=367-0"], "line 2: --time=367-0: a job may take 366 days at most"),
        (["--array=3-1"], "line 2: --array=3-1: '3-1' is no range of indexes"),
        (["--array=1-3%0"], "at most 0 at once is none"),
        (["--array=0-1000000"], "has too many indexes"),
        (["--gres=gpu:a100:1,gpu:v100:1"], "a job has one kind of accelerator here"),
        (["--gres=gpu:a100:1", "-G v100:1"], "line 3: -G v100:1: a job has one kind of accelerator here: a100 or v100"),
        (["--gres=gpu:2", "--gpus-per-node=3"], "--gres asks for 2 per node, this for 3; remove one"),
        (["-N 2", "-G 3"], "line 3: -G 3: each node has the same number here, and they don't go over 2 nodes"),
        (["--gres=gpu::2"], "write gpu:2 or gpu:h100:2"),
        (["--gpus=h100:x:2"], "write 2 or h100:2"),
        (["--export=MESH-SIZE=2"], "'MESH-SIZE' is no name of a variable"),
        (["--dependency=afterok:17"], "line 2: --dependency=afterok:17: jobs don't know of each other here; wait for the other job"),
        (["-d singleton"], "line 2: -d singleton: jobs don't know of each other here"),
        (["-D /data"], "line 2: -D /data: the site chooses the folder that a job starts in; write a cd into the script"),
        (["--exclusive"], "line 2: --exclusive: a job gets the cores and memory that it asks for"),
        (["--exclusive=user"], "line 2: --exclusive=user: "),
        (["-H"], "line 2: -H: the job would start at once"),
        (["--frobnicate"], "line 2: #SBATCH --frobnicate: --frobnicate is no option of sbatch that is known here"),
        (["--nod=2"], "--nod may be --nodefile, --nodelist, --nodes; write it out"),
        (["--hold=yes"], "--hold takes no value"),
        (["-Z"], "'-Z' is no option of sbatch"),
        (["10"], "'10' is no option of sbatch"),
        (["--time"], "--time needs a value"),
        (["-J 'wing"], "No closing quotation"),
        (["hetjob"], "a job of several parts isn't possible here"),
        (["-c2\r"], "line 2: #SBATCH -c2: the lines end in CR LF"),
    ],
)  # fmt: skip
def test_what_would_change_the_job_is_an_error_at_its_line(lines: list[str], why: str) -> None:
    (error,) = errors(*lines)
    assert why in error and error.startswith("line ")


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["-N 2-4"], "line 2: -N 2-4: a job has one number of nodes here: 2"),
        (["-N 3-5", "-n 8"], "line 2: -N 3-5: a job has one number of nodes here: 4"),
        (["-N 4", "-n 2"], "line 2: -N 4: 2 tasks take 2 nodes, as for Slurm"),
        (["-n 8"], "line 2: -n 8: all tasks are asked for on one node; write --nodes to spread them"),
        (["--gpus=8"], "line 2: --gpus=8: all are asked for on one node"),
        (["-o out.%j"], "line 2: -o out.%j: the platform keeps what the job writes: caravan jobs logs"),
        (["--error=err"], "line 2: --error=err: the platform keeps what the job writes"),
        (["--comment=c"], "line 2: --comment=c: it isn't kept; --label name=value is"),
        (["-p gpu"], "line 2: -p gpu: the platform chooses where it runs"),
        (["--export=ALL"], "line 2: --export=ALL: your environment isn't sent"),
        (["--export=NOWHERE"], "line 2: --export=NOWHERE: NOWHERE isn't set here, so it isn't sent"),
        (["--nice"], "line 2: --nice: jobs have no priority here"),
    ],
)
def test_what_can_not_be_had_but_changes_nothing_is_a_warning_at_its_line(lines: list[str], why: str) -> None:
    (warning,) = warnings(*lines)
    assert warning.startswith(why) and not errors(*lines)


def test_every_option_is_used_warned_of_or_refused_and_can_be_written() -> None:
    assert not options.USED & options.WARNED.keys() | options.USED & options.REFUSED.keys()
    assert not options.WARNED.keys() & options.REFUSED.keys()
    assert {*options.SHORT.values(), *options.ALIAS.values(), *options.BARE, *options.OPTIONAL} <= options.KNOWN
    for name in options.WARNED:
        assert len(warnings(f"--{name}" if name in options.BARE else f"--{name}=1")) == 1, name
    for name in options.REFUSED:
        assert len(errors(f"--{name}" if name in options.BARE else f"--{name}=1")) == 1, name


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("NONE", {}),
        ("nil", {}),
        ("ALL,MESH=fine", {"MESH": "fine"}),
        ("HOME,A=1,B=", {"HOME": "/home/wing", "A": "1", "B": ""}),
        ("\"A='x,y',B=2\"", {"A": "x,y", "B": "2"}),
        ("A=b=c", {"A": "b=c"}),
    ],
)
def test_variables_are_exported(value: str, meant: dict[str, str]) -> None:
    request = read(f"--export={value}", environ={"HOME": "/home/wing", "CARAVAN_TOKEN": "secret"})
    assert request.environment == meant and not request.errors


def test_a_job_that_may_not_be_requeued_is_tried_once() -> None:
    assert read("--no-requeue").fields["max_attempts"] == 1
    assert read("--no-requeue", "--requeue").fields["max_attempts"] is None


@pytest.mark.parametrize(
    ("lines", "decided", "meant"),
    [
        (["-N 2-4"], {"nodes": 3}, {}),
        (["-n 8", "-N 2"], {"nodes": 4}, {"nodes": 4, "tasks_per_node": 2}),
        (["-n 8"], {"tasks_per_node": 4}, {"nodes": 2}),
        (["-n 7", "-N 2", "--ntasks-per-node=x"], {"nodes": 3, "tasks_per_node": 4}, {}),
        (["--time=soon", "--mem=0"], {"walltime_seconds": 60, "memory_mib_per_node": 64}, {}),
        (["--mem-per-cpu=1G", "-c2"], {"cpus_per_task": 8}, {"memory_mib_per_node": 8192}),
        (["--mem-per-gpu=1G", "--gres=gpu:2"], {"accelerators_per_node": 4}, {"memory_mib_per_node": 4096}),
    ],
)
def test_the_command_line_wins_and_the_rest_is_worked_out_with_it(
    lines: list[str], decided: dict[str, Any], meant: dict[str, Any]
) -> None:
    found = resources(*lines, **decided)
    assert {name: found[name] for name in meant} == meant and not warnings(*lines, **decided)


# By other arithmetic


@given(
    st.integers(0, 400),
    st.integers(0, 99),
    st.integers(0, 99),
    st.integers(0, 99),
    st.sampled_from(["dhms", "d-h", "d-h:m", "h:m:s", "m", "m:s"]),
)
def test_times_are_those_of_a_timedelta(d: int, h: int, m: int, s: int, form: str) -> None:
    text, meant = {
        "dhms": (f"{d}-{h:02}:{m:02}:{s:02}", timedelta(days=d, hours=h, minutes=m, seconds=s)),
        "d-h": (f"{d}-{h}", timedelta(days=d, hours=h)),
        "d-h:m": (f"{d}-{h}:{m:02}", timedelta(days=d, hours=h, minutes=m)),
        "h:m:s": (f"{h}:{m:02}:{s:02}", timedelta(hours=h, minutes=m, seconds=s)),
        "m": (f"{m}", timedelta(minutes=m)),
        "m:s": (f"{m}:{s:02}", timedelta(minutes=m, seconds=s)),
    }[form]
    if timedelta() < meant <= timedelta(days=366):
        assert values.seconds(text) == math.ceil(meant / timedelta(minutes=1)) * 60
    else:
        with pytest.raises(ValueError):
            values.seconds(text)


@given(st.integers(1, 10**9), st.sampled_from(["", "K", "M", "G", "T", "k", "kb", "MB", "gB", "TB"]))
def test_memory_is_that_of_a_fraction_of_bytes(number: int, unit: str) -> None:
    power = {"": 20, "k": 10, "m": 20, "g": 30, "t": 40}[unit[:1].lower()]
    assert values.memory_mib(f"{number}{unit}") == math.ceil(Fraction(number * 2**power, 2**20))


Part = tuple[int, int, int]


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 200), st.integers(1, 20)), min_size=1, max_size=5),
    st.none() | st.integers(1, 50),
)
def test_an_array_has_the_indices_that_one_of_its_ranges_reaches(parts: list[Part], at_once: int | None) -> None:
    def written(first: int, span: int, step: int) -> str:
        last = first + span
        return (f"{first}" if span == 0 else f"{first}-{last}") + (f":{step}" if step > 1 and span else "")

    text = ",".join(written(*part) for part in parts) + (f"%{at_once}" if at_once else "")
    found = values.array(text)
    assert found["indices"] == [
        i
        for i in range(501)
        if any(first <= i <= first + span and (i - first) % step == 0 for first, span, step in parts)
    ]
    assert found.get("max_parallel") == at_once


@given(st.sets(st.integers(0, 60), min_size=1))
def test_an_array_is_read_back_from_its_shortest_form(indices: set[int]) -> None:
    starts = [i for i in sorted(indices) if i - 1 not in indices]
    ends = [i for i in sorted(indices) if i + 1 not in indices]
    text = ",".join(f"{a}-{b}" if a < b else f"{a}" for a, b in zip(starts, ends, strict=True))
    assert values.array(text)["indices"] == sorted(indices)


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 5), st.none() | st.integers(1, 10))
def test_tasks_are_spread_evenly_over_nodes_that_were_asked_for_or_not_at_all(
    tasks: int, least: int, more: int, most: int | None
) -> None:
    lines = [f"-n {tasks}", f"-N {least}-{least + more}", *([f"--ntasks-per-node={most}"] if most else [])]
    request = read(*lines)
    possible = [
        (nodes, each)
        for nodes in range(1, 61)
        for each in range(1, (most or 60) + 1)
        if nodes * each == tasks and (least <= nodes <= least + more or (tasks < least and nodes == tasks))
    ]
    if request.errors:
        assert not possible
    else:
        assert (request.resources["nodes"], request.resources["tasks_per_node"]) == min(possible)


OPTION = st.sampled_from(sorted(options.KNOWN)).map("--{}".format) | st.sampled_from(sorted(options.SHORT)).map(
    "-{}".format
)
WORD = st.text("0123456789:-,%=kKMGTx'\"\\# gpu", max_size=12)


@given(st.lists(st.tuples(OPTION, st.sampled_from(["=", " ", ""]), WORD), max_size=6), st.integers(0, 4))
@example([("--array", "=", "0-99999999999999")], 0)
@example([("--nodes", "=", "1-999999999999"), ("--ntasks", "=", "999999999999")], 0)
def test_no_line_breaks_the_reader_and_each_is_answered(lines: list[tuple[str, str, str]], nodes: int) -> None:
    request = read(*("".join(line) for line in lines), environ={}, **({"nodes": nodes} if nodes else {}))
    for note in request.warnings + request.errors:
        assert "\n" not in str(note) and note.why


# Through the command


def spec(catalog: Callable[[], Sequence[Accelerator]] = lambda: CATALOG, **given: Any) -> JobSpec:
    return Wanted(**(NOTHING | given)).job_spec(catalog)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "wing.sh"
    file.write_text(
        "#!/bin/bash\n"
        "#SBATCH --job-name=wing -N 2 -n 8 -c 4\n"
        "#SBATCH --mem-per-cpu=2G\n"
        "#SBATCH --gres=gpu:h100:2\n"
        "#SBATCH --time=1-02:30\n"
        "#SBATCH --array=0-9:3%2\n"
        "#SBATCH --export=NONE,\n"
        "#SBATCH --output=wing.%A.%a\n"
        "echo hello\n"
    )
    return file


def test_a_batch_script_becomes_a_spec_and_is_sent_as_it_is(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script.write_text(script.read_text().replace("NONE,", "MESH=fine"))
    made = spec(script=script, env=["SEED=1"])
    assert made.script == script.read_text() and made.name == "wing"
    assert made.resources.model_dump() == {
        "nodes": 2,
        "tasks_per_node": 4,
        "cpus_per_task": 4,
        "memory_mib_per_node": 32_768,
        "accelerators_per_node": 2,
        "accelerator": "acc_nvidia-h100-80g",
        "walltime_seconds": 95_400,
    }
    assert made.array is not None and made.array.indices == (0, 3, 6, 9) and made.array.max_parallel == 2
    assert made.environment == {"MESH": "fine", "SEED": "1"}
    assert capsys.readouterr().err == (
        f"{script}: warning: line 8: --output=wing.%A.%a: the platform keeps what the job writes: caravan jobs logs\n"
    )


def test_options_win_over_lines(script: Path, tmp_path: Path) -> None:
    script.write_text(script.read_text().replace("NONE,", "MESH=fine"))
    other = "acc_nvidia-a100-80g"
    made = spec(script=script, name="tail", nodes=4, walltime="10m", accelerator=other, array="5", env=["MESH=rough"])
    assert made.name == "tail" and made.environment == {"MESH": "rough"}
    assert (made.resources.nodes, made.resources.tasks_per_node) == (4, 2)
    assert made.resources.walltime_seconds == 600 and made.resources.accelerator == other
    assert made.array is not None and made.array.indices == (5,) and made.array.max_parallel is None
    script.write_text(script.read_text().replace("-N 2", "-N 2 --no-requeue"))
    assert spec(script=script).max_attempts == 1 and spec(script=script, max_attempts=2).max_attempts == 2
    file = tmp_path / "spec.json"
    file.write_text(json.dumps({"resources": {"cpus_per_task": 1, "nodes": None}, "array": None, "labels": {"a": "b"}}))
    beside = spec(script=script, spec=file)
    assert (beside.resources.cpus_per_task, beside.resources.nodes) == (1, 2) and beside.labels == {"a": "b"}
    assert beside.array is not None


def test_all_errors_are_said_at_once_and_nobody_is_asked(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def nobody() -> Sequence[Accelerator]:
        raise AssertionError

    script.write_text(script.read_text().replace("echo", "#SBATCH -d singleton\necho").replace("-n 8", "-n 7"))
    with pytest.raises(typer.Exit) as ended:
        spec(nobody, script=script)
    assert ended.value.exit_code == 2
    said = capsys.readouterr().err
    assert f"{script}: line 2: -n 7: each node" in said
    assert f"{script}: line 9: -d singleton: jobs don't know" in said


def test_an_unknown_kind_is_an_error_at_its_line(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script.write_text(script.read_text().replace("h100", "a100").replace("NONE,", "NONE"))
    with pytest.raises(typer.Exit):
        spec(script=script)
    assert "line 4: --gres=gpu:a100:2: 'a100' may be any of acc_nvidia-a100-40g" in capsys.readouterr().err


@pytest.mark.parametrize(
    "broken",
    [{"resources": {"nodes": "two"}}, {"resources": {"nodes": 0, "tasks_per_node": -1}}, {"environment": ["MESH"]}],
)
def test_a_spec_file_that_is_wrong_beside_a_script_is_said_as_ever(broken: Any, script: Path, tmp_path: Path) -> None:
    script.write_text(script.read_text().replace("NONE,", "NONE"))
    (tmp_path / "spec.json").write_text(json.dumps(broken))
    with pytest.raises(typer.Exit) as ended:
        spec(script=script, spec=tmp_path / "spec.json")
    assert ended.value.exit_code == 2


def submit(*arguments: str) -> Result:
    """Where no platform answers: what gets that far ends with 1."""
    env = {"CARAVAN_URL": "http://127.0.0.1:1", "CARAVAN_TOKEN": "none", "CARAVAN_PROJECT": NOTHING["project"]}
    return CliRunner().invoke(app, ["submit", *arguments], env=env)


def test_a_word_that_is_a_file_here_is_a_script_and_after_dashes_a_command(tmp_path: Path) -> None:
    file = tmp_path / "job.sh"
    file.write_text("#!/bin/sh\n#SBATCH --hold\n")
    refused = submit(str(file))
    assert refused.exit_code == 2 and f"{file}: line 2: --hold: the job would start at once" in refused.stderr
    assert submit("--", str(file)).exit_code == 1
    assert "Nothing answers" in submit("echo", "hello").stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["job.sh", "more"], "job.sh is sent without arguments: write them into it"),
        (["job.sh", "--script", "job.sh"], "Give job.sh or --script, not both"),
        (["jbo.sh"], "jbo.sh: No such file here"),
    ],
)
def test_a_script_that_is_not_meant_so_is_said(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.sh").write_text("#!/bin/sh\n")
    done = submit(*arguments)
    assert done.exit_code == 2 and words in done.stderr


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("#!/bin/sh\r\necho\r\n", "line 1: #!/bin/sh: the lines end in CR LF"),
        ("#!/bin/sh\n#SBATCH -t 5\nif true\nthen\r\necho\r\nfi\r\n", "line 4: then: the lines end in CR LF"),
        ("#!/bin/sh\n\r\necho\n", "line 2: an empty line: the lines end in CR LF"),
    ],
)
def test_a_script_with_crlf_is_an_error_wherever_it_begins(script: str, why: str) -> None:
    (error,) = sbatch.read(script, {}, {}).errors
    assert str(error).startswith(why)


def test_a_byte_order_mark_hides_no_line(tmp_path: Path) -> None:
    file = tmp_path / "wing.sh"
    file.write_text("#!/bin/sh\n#SBATCH -t 5 --mem=1G\ntrue\n", encoding="utf-8-sig")
    made = Wanted(**(NOTHING | {"script": file})).job_spec(list)
    assert made.resources.walltime_seconds == 300
    assert made.script == "#!/bin/sh\n#SBATCH -t 5 --mem=1G\ntrue\n"


def test_a_line_that_is_too_long_to_be_read_is_named_by_its_beginning() -> None:
    (error,) = errors("--comment=" + "x" * 10_000_000)
    assert error.startswith("line 2: #SBATCH --comment=xxx") and "at most 16,384 characters" in error
    assert len(error) < 300
