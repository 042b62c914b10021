"""What became of an entry: the outcome of its call, the failure, and what Redis refused to record."""

from dataclasses import dataclass
from enum import StrEnum

from listeners.errors import SourceError, SourceTimeoutError, SourceUnavailableError
from listeners.functions.entries import Entry

__all__ = ["Failure", "Outcome", "Refusal", "Settlement"]


class Outcome(StrEnum):
    """The result of an entry's delivery."""

    SUCCEEDED = "succeeded"
    RETRIED = "retried"
    DEAD_LETTERED = "dead_lettered"
    #: The call failed and the entry is lost, as Redis does not keep pub/sub messages.
    DROPPED = "dropped"
    #: No call was made: the lease expired first, and another instance may have taken the entry.
    LAPSED = "lapsed"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call failed.

    Attributes:
        error: Class and text of the exception, or another reason, in one line of bounded length.
        where: The line of the user's code that raised it; empty if none did.
        traceback: The traceback with its chain, of bounded length; empty if there is none.
        exception: What the call raised, for error trackers.
        requested: Whether the function itself asked for the retry.
    """

    error: str
    where: str = ""
    traceback: str = ""
    exception: BaseException | None = None
    requested: bool = False

    def in_full(self) -> "Failure":
        """Return it with its traceback, which may not be formatted yet."""
        return self


@dataclass(frozen=True, slots=True)
class Settlement:
    """An entry and the outcome of its delivery.

    `delay_ms` is the delay before the next delivery (retried), `failure` the reason of any outcome but succeeded.
    `called`: whether this delivery led to a call.
    """

    entry: Entry
    outcome: Outcome
    delay_ms: int = 0
    failure: Failure | None = None
    called: bool = True

    @property
    def calls(self) -> int:
        """How many calls with the entry have counted."""
        return self.entry.deliveries if self.called else self.entry.deliveries - 1

    @property
    def error(self) -> str:
        """The reason in one line; empty for a success."""
        return self.failure.error if self.failure else ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A settlement that Redis refused, and its error. The entry is still in progress."""

    settlement: Settlement
    error: SourceError

    @property
    def is_unreachable(self) -> bool:
        """Whether the node of the entry's key did not answer, so that it was not this entry that was refused."""
        return isinstance(self.error, SourceUnavailableError | SourceTimeoutError)
