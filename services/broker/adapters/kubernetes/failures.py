"""What the API server's refusals mean to the port: from a status code and its Status object. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.broker.adapters.port import BackendError, OutcomeUnknown, Rejected, Unavailable

FORBIDDEN: Final = 403
GONE: Final = 404
CONFLICT: Final = 409
EXPIRED: Final = 410
INVALID: Final = 422
REFUSED: Final = frozenset({400, 413, 422})
"""It said no, and will again."""
LATER: Final = frozenset({401, 429})
"""It was not even looked at."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer that isn't 2xx."""

    status: int
    words: str

    def of_read(self) -> Unavailable:
        return Unavailable(self._said)

    def of_act(self) -> BackendError:
        """For what may have changed something. 404 and 409 mean something else to each act, and are for it to read first."""
        if self.status == FORBIDDEN:
            return self._forbidden()
        if self.status in REFUSED:
            return Rejected(self.words)
        if self.status in LATER:
            return Unavailable(self._said)
        return OutcomeUnknown(self._said)

    @property
    def lacks_rights(self) -> bool:
        """It is about our own rights, which the centre can grant, and not about the job. The words name its users."""
        return self.status == FORBIDDEN and not self._over_quota and not self._denied

    def _forbidden(self) -> BackendError:
        """A quota may have room later."""
        return Rejected(self.words) if self._denied else Unavailable(self._said)

    @property
    def _over_quota(self) -> bool:
        return "exceeded quota" in self.words

    @property
    def _denied(self) -> bool:
        """By a webhook or another admission plugin."""
        return "denied the request" in self.words or "violates PodSecurity" in self.words

    @property
    def _said(self) -> str:
        return f"the API server answers with status {self.status}: {self.words}"


def failure(status: int, content: Any) -> Failure:
    """`content`: the answer's JSON, None of what isn't any (a proxy's page). A 401 is said in our words: it says nothing itself."""
    if status == 401:
        return Failure(status, "it doesn't take the site's credentials")
    told = content.get("message") if isinstance(content, Mapping) and content.get("kind") == "Status" else None
    return Failure(status, str(told) if told else "it gives no reason")
