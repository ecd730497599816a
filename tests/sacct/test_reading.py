"""What stands in a dump of `sacct -P`, line by line."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.sacct import Allocation, Aside, Fault, Times, UnreadableDump, ZoneNeeded, allocations
from caravan.sacct.columns import WITHOUT_HEADER

SHANGHAI = Times(ZoneInfo("Asia/Shanghai"))
BERLIN = Times(ZoneInfo("Europe/Berlin"))
ROW = {
    "jobid": "12",
    "jobidraw": "12",
    "cluster": "qin",
    "account": "alloys",
    "user": "li",
    "submit": "2026-03-10T16:00:00",
    "start": "2026-03-10T16:00:10",
    "end": "2026-03-10T17:00:10",
    "elapsed": "01:00:00",
    "state": "COMPLETED",
    "nnodes": "2",
    "ncpus": "8",
    "reqmem": "4Gn",
    "alloctres": "billing=8,cpu=8,gres/gpu:h100=3,gres/gpu=4,mem=16G,node=2",
    "jobname": "melt",
}
SUBMITTED = int(datetime(2026, 3, 10, 8, tzinfo=UTC).timestamp())


def row(**changed: str) -> str:
    """A line of the 26 fields."""
    return "|".join((ROW | changed).get(field, "") for field in WITHOUT_HEADER)


def only(line: str, times: Times = SHANGHAI) -> Allocation | Aside | Fault:
    [found] = allocations([line + "\n"], times)
    return found


def allocation(times: Times = SHANGHAI, **changed: str) -> Allocation:
    found = only(row(**changed), times)
    assert isinstance(found, Allocation), found
    return found


def fault(times: Times = SHANGHAI, **changed: str) -> Fault:
    found = only(row(**changed), times)
    assert isinstance(found, Fault), found
    return found


def test_a_row_of_the_26_fields_is_an_allocation() -> None:
    assert allocation() == Allocation(
        line=1,
        identity=f"qin:12:{SUBMITTED}",
        account="alloys",
        user="li",
        submitted=SUBMITTED,
        start=SUBMITTED + 10,
        end=SUBMITTED + 3610,
        state="COMPLETED",
        nodes=2,
        cpus=8,
        memory_mib=16 * 1024,
        accelerators=(("gpu", 1), ("gpu:h100", 3)),
        name="melt",
    )


def test_fields_stand_where_the_header_says_and_each_line_may_be_closed() -> None:
    fields = ["User", "JobIDRaw", "State", "Account", "Submit", "Start", "End", "AllocTRES", "Cluster"]
    lines = ["|".join(fields) + "|\n", "|".join(ROW[field.lower()] for field in fields) + "|\n"]
    [found] = allocations(lines, SHANGHAI)
    assert isinstance(found, Allocation)
    assert (found.line, found.identity, found.user, found.cpus) == (2, f"qin:12:{SUBMITTED}", "li", 8)


def test_a_dump_that_lacks_a_field_is_refused_by_name() -> None:
    with pytest.raises(UnreadableDump, match="lacks submit, alloctres/alloccpus/ncpus"):
        list(allocations(["jobid|cluster|account|user|start|end|state"], SHANGHAI))


def test_a_dump_without_a_header_and_without_its_fields_is_refused() -> None:
    with pytest.raises(UnreadableDump, match="no header"):
        list(allocations(["12|qin|2026-03-10T16:00:00"], SHANGHAI))


def test_the_cluster_is_the_rows_else_the_one_given_else_refused() -> None:
    lines = ["jobid|account|user|submit|start|end|state|ncpus", "12|a|u|{submit}|{start}|{end}|FAILED|8".format(**ROW)]
    [found] = allocations(lines, SHANGHAI, "jing")
    assert isinstance(found, Allocation)
    assert found.identity == f"jing:12:{SUBMITTED}"
    with pytest.raises(UnreadableDump, match="--cluster"):
        list(allocations(lines, SHANGHAI))
    assert fault(cluster="").field == "cluster"


def test_a_job_name_may_hold_delimiters_and_field_names() -> None:
    assert allocation(jobname="a|b||jobid|").cpus == 8
    lines = [
        "jobname|" + "|".join(ROW.keys() - {"jobname"}),
        "x|y|" + "|".join(ROW[k] for k in ROW.keys() - {"jobname"}),
    ]
    [found] = allocations(lines, SHANGHAI)
    assert isinstance(found, Allocation)
    assert found.user == "li"


@pytest.mark.parametrize("step", ["12.batch", "12.0", "12.extern", "12_3.0"])
def test_steps_are_left_out(step: str) -> None:
    assert only(row(jobid=step, jobidraw=step)) is Aside.STEP


def test_tasks_and_components_go_by_their_raw_ids() -> None:
    assert allocation(jobid="12_3", jobidraw="15").identity == f"qin:15:{SUBMITTED}"
    assert allocation(jobid="12+1", jobidraw="13").identity == f"qin:13:{SUBMITTED}"
    lines = [
        "jobid|cluster|account|user|submit|start|end|state|ncpus",
        "12_3|c|a|u|{submit}|{start}|{end}|FAILED|8".format(**ROW),
    ]
    [found] = allocations(lines, SHANGHAI)
    assert isinstance(found, Fault)
    assert "JobIDRaw" in found.reason


def test_a_requeue_is_another_run() -> None:
    again = allocation(submit="2026-03-10T16:00:05")
    assert again.identity == f"qin:12:{SUBMITTED + 5}"


def test_a_row_without_an_end_still_runs() -> None:
    assert allocation(end="Unknown", state="RUNNING").end is None


def test_what_never_held_anything_never_ran() -> None:
    assert only(row(start="Unknown", end="Unknown", state="PENDING", alloctres="")) is Aside.NEVER_RAN
    assert only(row(end=ROW["start"], elapsed="00:00:00", state="CANCELLED by 0", alloctres="")) is Aside.NEVER_RAN


def test_who_cancelled_a_job_is_no_part_of_its_state() -> None:
    assert allocation(state="CANCELLED by 1234").state == "CANCELLED"
    assert fault(state="all well").field == "state"


def test_it_ends_when_sacct_says_and_held_nothing_while_it_was_suspended() -> None:
    one = allocation(elapsed="00:59:00")
    assert (one.end, one.suspended, one.seconds) == (SUBMITTED + 3610, 60, 3540)
    assert allocation(end="2026-03-11T18:02:13", elapsed="1-02:02:03").seconds == 93723
    running = allocation(end="Unknown", elapsed="00:59:00", state="SUSPENDED")
    assert (running.end, running.suspended, running.seconds) == (None, 0, None)
    assert fault(elapsed="01:00:01").field == "elapsed"
    assert fault(elapsed="an hour").field == "elapsed"


@pytest.mark.parametrize(
    ("told", "mib"), [("4Gn", 8192), ("2Gc", 16384), ("3G", 3072), ("1.50G", 1536), ("700", 700), ("2097152K", 2048)]
)
def test_memory_is_per_node_per_cpu_or_in_all(told: str, mib: int) -> None:
    assert allocation(alloctres="cpu=8,node=2", reqmem=told).memory_mib == mib


@pytest.mark.parametrize("field", ["start", "end", "submit"])
def test_an_unreadable_time_is_a_fault_of_its_field(field: str) -> None:
    found = only(row(**{field: "yesterday"}))
    assert isinstance(found, Fault)
    assert found.field == field


@pytest.mark.parametrize("field", ["start", "end", "submit"])
@pytest.mark.parametrize("told", ["0001-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_that_no_clock_has_is_a_fault_of_its_field(field: str, told: str) -> None:
    assert only(row(**{field: told, "elapsed": ""})) == Fault(1, field, f"{told!r} is not between 1970 and 9999")


def test_a_duration_longer_than_any_is_a_fault() -> None:
    assert fault(elapsed="99999999999999-00:00:00").field == "elapsed"


@pytest.mark.parametrize(
    "tres", ["cpu", "cpu=", "cpu=x", "cpu=1,cpu=2", "cpu=1,mem=much", "cpu=1,gres/gpu=y", "cpu=1,node=z"]
)
def test_unreadable_resources_are_a_fault(tres: str) -> None:
    assert fault(alloctres=tres).field == "alloctres"


def test_an_end_before_the_start_is_a_fault() -> None:
    assert fault(end="2026-03-10T16:00:09") == Fault(1, "end", "it ends before it starts")


def test_faults_name_their_line_and_the_reading_goes_on() -> None:
    found = list(allocations([row(), "", "rubbish", row(ncpus="8", jobidraw="x"), row()], SHANGHAI))
    assert [(one.line, type(one).__name__) for one in found if not isinstance(one, Aside)] == [
        (1, "Allocation"),
        (3, "Fault"),
        (4, "Fault"),
        (5, "Allocation"),
    ]


def test_parts_of_cards_are_no_cards() -> None:
    assert allocation(alloctres="cpu=8,gres/shard=40,gres/dcu=2").accelerators == (("dcu", 2),)


def test_an_offset_in_the_times_needs_no_zone() -> None:
    offsets = {
        "submit": "2026-03-10T16:00:00+0800",
        "start": "2026-03-10T08:00:10Z",
        "end": "2026-03-10T17:00:10+08:00",
    }
    assert allocation(Times(), **offsets) == allocation()


def test_seconds_since_the_epoch_need_no_zone() -> None:
    times = {field: str(SUBMITTED + after) for field, after in (("submit", 0), ("start", 10), ("end", 3610))}
    assert allocation(Times(), **times) == allocation()
    assert fault(Times(), start="123").field == "start"


def test_local_times_without_a_zone_are_refused_with_what_to_do() -> None:
    with pytest.raises(ZoneNeeded, match="--zone"):
        only(row(), Times())


def test_local_times_that_a_zone_has_twice_or_never_are_faults() -> None:
    assert "twice" in fault(BERLIN, end="2026-10-25T02:30:00", elapsed="").reason
    assert "never" in fault(BERLIN, start="2026-03-29T02:30:00").reason


def test_a_dump_is_read_no_further_than_asked() -> None:
    def endless() -> Iterator[str]:
        while True:
            yield row()

    reading = allocations(endless(), SHANGHAI)
    assert [type(next(reading)) for _ in range(3)] == [Allocation] * 3


@given(
    start=st.integers(0, 2**32),
    length=st.integers(0, 10**7),
    cpus=st.integers(1, 10**6),
    memory=st.integers(0, 10**8),
    cards=st.dictionaries(st.sampled_from(["gpu:h100", "gpu:a", "dcu:z100", "npu"]), st.integers(1, 10**4)),
    offset=st.integers(-14 * 60, 14 * 60),
    name=st.text(st.characters(blacklist_characters="\r\n")),
)
def test_what_is_written_is_read(
    start: int, length: int, cpus: int, memory: int, cards: dict[str, int], offset: int, name: str
) -> None:
    zone = timezone(timedelta(minutes=offset))

    def written(second: int) -> str:
        return datetime.fromtimestamp(second, zone).strftime("%Y-%m-%dT%H:%M:%S%z")

    days, rest = divmod(length, 86400)
    tres = ",".join([f"cpu={cpus}", f"mem={memory}M", "node=1", *(f"gres/{kind}={n}" for kind, n in cards.items())])
    found = allocation(
        Times(),
        submit=written(start),
        start=written(start),
        end=written(start + length),
        elapsed=f"{days}-{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}",
        alloctres=tres,
        jobname=name,
    )
    assert (found.submitted, found.start, found.end) == (start, start, start + length)
    assert (found.cpus, found.memory_mib, dict(found.accelerators)) == (cpus, memory, cards)


@given(second=st.integers(0, 2**31))
def test_local_times_are_those_of_the_zone(second: int) -> None:
    local = datetime.fromtimestamp(second, BERLIN.zone)
    try:
        found = BERLIN.read(local.strftime("%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        assert local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset()
    else:
        assert found == second
