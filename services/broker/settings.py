"""The broker's settings: those of every service, and its own."""

from pydantic import Field

from caravan.kernel.settings import Settings as ServiceSettings


class Settings(ServiceSettings):
    """Each field is the environment variable `CARAVAN_<FIELD>`."""

    lease_seconds: int = Field(default=15, ge=1, le=600, description="How long a silent agent keeps its site.")
    embedded_agents: bool = Field(
        default=True, description="Run the agents of sites whose `agent` is `platform` in the broker."
    )
    jobs_on_this_machine: bool = Field(
        default=False,
        description="The operator's consent that jobs of `local` sites run on the broker's machine; needed in production.",
    )
