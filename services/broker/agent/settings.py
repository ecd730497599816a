"""How an agent paces itself. Each field is the environment variable `CARAVAN_AGENT_<FIELD>`."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class AgentSettings(BaseSettings):
    """The defaults suit a site of some thousand running tasks; tests and demonstrations turn the waits down."""

    model_config = SettingsConfigDict(env_prefix="CARAVAN_AGENT_", frozen=True, extra="ignore", env_ignore_empty=True)

    work_wait_seconds: float = Field(
        default=20, ge=0, le=30, description="How long the broker may hold back an answer."
    )
    observe_seconds: float = Field(default=0.5, gt=0, description="Between looks at what may have changed.")
    full_pass_seconds: float = Field(
        default=30, gt=0, description="Between looks at the same, whether or not anything is known to have changed."
    )
    progress_seconds: float = Field(default=15, ge=0, description="Between statements of how far usage is complete.")
    sweep_seconds: float = Field(default=60, gt=0, description="Between searches for submissions nobody committed.")
    orphan_seconds: float = Field(default=300, ge=0, description="How long one of an unknown attempt is left alone.")
    probe_seconds: float = Field(default=10, gt=0, description="Between looks at whether the site is well.")
    books_seconds: float = Field(
        default=600, gt=0, description="Between questions of which day the site's own books are wanted."
    )
    inventory_seconds: float = Field(default=300, gt=0)
    retry_seconds: float = Field(default=10, gt=0, description="Before a taken lease or a refused site is tried again.")
    first_pause_seconds: float = Field(default=0.1, gt=0, description="After a first failure; it doubles with each.")
    longest_pause_seconds: float = Field(default=30, gt=0)
    batch_seconds: float = Field(default=0.1, ge=0, description="How long a report waits for company.")
    batch_items: int = Field(default=500, ge=1, le=2000)
    concurrency: int = Field(
        default=32, ge=1, description="Attempts that are acted on, or wait for the broker's word, at the same time."
    )
