"""What an agent's log says of a step that fails again and again, and how long it waits."""

from structlog.testing import capture_logs

from caravan.kernel.metrics import Metrics
from services.broker.agent.settings import AgentSettings
from services.broker.agent.tenure import AgentMetrics, Tries


def test_a_step_that_keeps_failing_is_logged_ever_less_often_and_once_when_it_is_well() -> None:
    tries = Tries(AgentSettings(), AgentMetrics(Metrics()), "probe", site="here")
    with capture_logs() as logs:
        tries.well()
        for _ in range(20):
            tries.failed(TimeoutError("no answer"))
        for words in ("refused", "refused", "refused", "no answer"):
            tries.failed(TimeoutError(words))
        tries.well()
        tries.well()
        tries.failed(TimeoutError("no answer"))
    told = [(one["event"], one["failures"], "refused" in str(one.get("error"))) for one in logs]
    failed, well = "agent_step_failed", "agent_step_well"
    assert told == [
        *((failed, count, False) for count in (1, 2, 4, 8, 16)),
        (failed, 21, True),
        (failed, 24, False),
        (well, 24, False),
        (failed, 1, False),
    ]
    assert {(one["step"], one["site"]) for one in logs} == {("probe", "here")}


def test_pauses_double_to_the_longest_until_it_is_well() -> None:
    settings = AgentSettings(first_pause_seconds=1, longest_pause_seconds=5)
    tries = Tries(settings, AgentMetrics(Metrics()), "probe")
    assert [tries.failed(TimeoutError()), tries.pause(), tries.failed(TimeoutError()), tries.pause()] == [1, 2, 4, 5]
    tries.well()
    assert tries.pause() == 1
