"""The queue of what is read next, and its budget: no second passes it, nobody starves, what was touched is next."""

from hypothesis import given
from hypothesis import strategies as st

from services.broker.adapters.slurm.pace import LATEST_SECONDS, SOONEST_SECONDS, TOUCHED_OF, Budget, Queue, interval

KEYS = st.sampled_from("abcdefgh")
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("touch"), KEYS, st.just(0)),
        st.tuples(st.just("due"), KEYS, st.integers(0, 9)),
        st.tuples(st.just("drop"), KEYS, st.just(0)),
        st.tuples(st.just("pop"), st.just(""), st.integers(1, 3)),
    ),
    max_size=80,
)


@given(st.lists(st.tuples(st.integers(1, 45), st.integers(0, 100)), max_size=60), st.integers(1, 50))
def test_no_second_sees_more_reads_than_the_budget(asked: list[tuple[int, int]], per_second: int) -> None:
    budget, at, spent = Budget(), 0.0, list[tuple[float, int]]()
    for pause, wanted in asked:
        at += pause / 64
        taken = min(wanted, budget.left(at, per_second))
        budget.spend(at, taken)
        spent.append((at, taken))
        assert sum(reads for when, reads in spent if at - 1 < when) <= per_second
    assert budget.left(at + 1, per_second) == per_second, "and all of it is there again a second later"


def test_what_an_act_needed_leaves_less_for_others() -> None:
    budget = Budget()
    budget.spend(0, 30)
    assert (budget.left(0.9, 40), budget.left(0.9, 20), budget.left(1, 40)) == (10, 0, 40)


@given(EVENTS)
def test_each_is_taken_once_when_it_is_due_and_those_touched_come_in_their_order(
    events: list[tuple[str, str, int]],
) -> None:
    queue, at = Queue(), 0
    touched, due = list[str](), dict[str, int]()
    for event, key, number in events:
        if event == "touch":
            queue.touch(key)
            due.pop(key, None)
            touched += [key] if key not in touched else []
        elif event == "pop":
            at += number
            taken = queue.pop(at)
            overdue = [(when, one) for one, when in due.items() if when <= at]
            first = {*touched[:1], *([min(overdue)[1]] if overdue else [])}
            assert taken in first if first else taken is None
            touched = [one for one in touched if one != taken]
            due.pop(taken or "", None)
        else:
            touched = [one for one in touched if one != key]
            due.pop(key, None)
            if event == "due":
                due[key] = at + number
                queue.due(key, at + number)
            else:
                queue.drop(key)
        assert len(queue) == len(touched) + len(due)
        assert all((one in queue) == (one in touched or one in due) for one in "abcdefgh")
        assert all(queue.is_due(one, at) == (one in touched or due.get(one, 99_999) <= at) for one in "abcdefgh")


@given(st.integers(1, 30), st.integers(0, TOUCHED_OF - 1))
def test_whoever_is_due_has_its_turn_however_many_are_touched(waiting: int, begun: int) -> None:
    queue = Queue()
    for number in range(begun):
        queue.touch(f"t{number}")
        queue.pop(0)
    for number in range(waiting):
        queue.due(f"w{number:02}", number)
    taken = []
    for number in range(waiting * TOUCHED_OF):
        queue.touch(f"t{number}")
        taken.append(queue.pop(100))
    assert [one for one in taken if one and one[0] == "w"] == [f"w{number:02}" for number in range(waiting)]


@given(st.integers(1, 50))
def test_what_is_touched_is_next_though_others_have_waited_long(waiting: int) -> None:
    queue = Queue()
    for number in range(waiting):
        queue.due(f"w{number}", 0)
    queue.touch("w0")
    queue.touch("new")
    taken = [queue.pop(100) for _ in range(min(3, waiting + 1))]
    assert taken[:2] == ["w0", "new"]


def test_what_stays_the_same_is_read_ever_more_seldom_and_where_there_is_much_more_seldom_still() -> None:
    assert [interval(quiet, 1, 40) for quiet in (0, 20, 10_000)] == [SOONEST_SECONDS, 2, LATEST_SECONDS]
    waiting = 5000
    longest = interval(10_000_000, waiting, 40)
    assert waiting / longest == 20, "half of the budget is left for what is young"
