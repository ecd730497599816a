"""A site's agent: it takes the site's lease, brings attempts to where the broker wants them, and reports what it sees.

Owns the order of stage, commit and release at a backend, what is stated of usage and when, and the sweeping of litter. Knows the
broker by its client only, so that it runs inside the broker or at a centre that opens no port; never decides what should run, and
never keeps anything: a new agent starts from what the broker and the backend say.

Open `agent.py` first, then `driver.py` (acting), `observer.py` and `watched.py` (seeing), `metering.py` (usage).
"""

from services.broker.agent.agent import Agent, new_holder, run_agent
from services.broker.agent.settings import AgentSettings
from services.broker.agent.tenure import AgentApi, AgentMetrics

__all__ = ["Agent", "AgentApi", "AgentMetrics", "AgentSettings", "new_holder", "run_agent"]
