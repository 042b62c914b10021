"""All errors that Triggerfish raises.

    TriggerfishError
    ├── ConfigurationError              an invalid declaration or setting
    │   ├── ConnectionStringError       a malformed connection string
    │   ├── UnknownConnectionError      a named connection that the settings do not define
    │   ├── UnusableConnectionError     a named connection with invalid settings or files
    │   ├── ConnectionNotAllowedError   a connection that this namespace may not use
    │   ├── LimitReachedError           more than a scaler keeps for all, of which others have their part
    │   ├── BindingError                a function that cannot be called by its trigger
    │   ├── MissingExtraError           a missing optional package that a feature requires
    │   └── AppLoadError                an app that cannot be imported
    ├── SourceError                     a failed operation on Redis (or Kubernetes, for a lease); retried later
    │   ├── SourceUnavailableError      unreachable, loading, failing over or out of memory
    │   ├── SourceTimeoutError          no reply within the timeout
    │   ├── AccessDeniedError           wrong credentials, or the ACL denies the command or key
    │   ├── WrongTypeError              the key holds a value of another type
    │   ├── GroupMissingError           the stream or its consumer group does not exist
    │   └── CommandRefusedError         any other error reply
    ├── CallTimeoutError                a call exceeded its time limit and counts as failed
    ├── MiddlewareError                 a middleware did not await call_next() exactly once; the call counts as failed
    ├── LifespanError                   the app's lifespan failed; the process ends
    ├── UnknownEntryError               a BatchError named an entry that its call did not have
    └── FunctionSignal                  raised by a user's function to decide what happens to its entries
        ├── Retry                       deliver the entry again later
        ├── Reject                      dead-letter the entry now
        └── BatchError                  only some entries of a batch failed

Only `listeners.redis.error_translation` turns errors of redis-py into SourceErrors, and only
`listeners.leases.kubernetes_lease` those of the Kubernetes client.
"""

import math
import operator
import re
from collections.abc import Mapping
from typing import Self, SupportsIndex

from listeners.text import describe_exception, may_hold_connection_string, short_repr

__all__ = [
    "AccessDeniedError",
    "AppLoadError",
    "BatchError",
    "BindingError",
    "CallTimeoutError",
    "CommandRefusedError",
    "ConfigurationError",
    "ConnectionNotAllowedError",
    "ConnectionStringError",
    "FunctionSignal",
    "GroupMissingError",
    "LifespanError",
    "LimitReachedError",
    "MiddlewareError",
    "MissingExtraError",
    "Reject",
    "Retry",
    "SourceError",
    "SourceTimeoutError",
    "SourceUnavailableError",
    "TriggerfishError",
    "UnknownConnectionError",
    "UnknownEntryError",
    "UnusableConnectionError",
    "WrongTypeError",
]

MAX_SHOWN_CHARACTERS = 120
#: Takes the place of a text that may be a misplaced connection string.
NOT_SHOWN = "(not shown, because it may contain a password)"
#: How many further mistakes the text of an error names.
MAX_OTHERS = 20
#: How much of a reason the text of a BatchError has.
MAX_REASON_CHARACTERS = 500


class TriggerfishError(Exception):
    """The base class of all errors that Triggerfish raises."""


class ConfigurationError(TriggerfishError):
    """A declaration or setting is invalid. The message names the field, the value and the fix.

    `field` is the parameter, setting or option. `value` is the given value (never a secret; None: no value to show).
    `fix` is one or more sentences: what is wrong, and how to correct it. `others` are further mistakes that were found
    in the same place, so that all can be corrected at once.
    """

    def __init__(self, field: str, value: object, fix: str) -> None:
        self.field = field
        self.value = value
        self.fix = fix
        self.others: tuple[ConfigurationError, ...] = ()
        super().__init__(self._text())

    @classmethod
    def within(cls, place: str, error: "ConfigurationError") -> Self:
        """Return an error and the others that it has as errors of this class, for fields of a place."""
        first, *others = (cls(f"{place}.{one.field}", one.value, one.fix) for one in (error, *error.others))
        first.add_others([*others])
        return first

    @staticmethod
    def combined(errors: "list[ConfigurationError]") -> "ConfigurationError":
        """Return the first error, with the others."""
        errors[0].add_others(errors[1:])
        return errors[0]

    def add_others(self, others: "list[ConfigurationError]") -> None:
        """Add mistakes, with the others that they have."""
        for other in others:
            self.others += (other, *other.others)
        self.args = (self._text(),)

    def add_hint(self, hint: str) -> None:
        """Add a sentence that helps to find the mistake to the fix."""
        self.fix = f"{self.fix} {hint}"
        self.args = (self._text(),)

    def _text(self) -> str:
        texts = [self._own_text(), *(f"Also, {other._own_text()}" for other in self.others[:MAX_OTHERS])]
        if len(self.others) > MAX_OTHERS:
            texts.append(f"And {len(self.others) - MAX_OTHERS} more.")
        return " ".join(texts)

    def _own_text(self) -> str:
        # No option has such a name; a connection string in place of one does.
        field = NOT_SHOWN if re.search(r"[,@=]|://", self.field) else self.field
        if self.value is None:
            return f"{field}: {self.fix}"
        return f"invalid {field} {_shown(self.value)}: {self.fix}"


def _shown(value: object) -> str:
    """Return the value's repr, truncated: a megabyte of metadata must not become a megabyte of log."""
    shown = short_repr(value)
    if may_hold_connection_string(shown):
        return NOT_SHOWN
    return shown if len(shown) <= MAX_SHOWN_CHARACTERS else f"{shown[:MAX_SHOWN_CHARACTERS]}..."


class ConnectionStringError(ConfigurationError):
    """A connection string is malformed. Its value is never shown, because it may contain a password."""

    def __init__(self, fix: str, field: str = "connection_string") -> None:
        super().__init__(field, None, fix)


class UnknownConnectionError(ConfigurationError):
    """A trigger names a connection that the settings do not define."""


class UnusableConnectionError(ConfigurationError):
    """A named connection has contradictory settings, or one of its files cannot be used."""


class ConnectionNotAllowedError(ConfigurationError):
    """A connection is restricted to other namespaces, or connection strings are not accepted here."""


class LimitReachedError(ConfigurationError):
    """A scaler already keeps as much as it may, and the namespace has its part of it."""


class BindingError(ConfigurationError):
    """A function cannot be called with what its trigger delivers, or cannot be registered under its name."""


class MissingExtraError(ConfigurationError):
    """An optional package is required but not installed."""


class AppLoadError(ConfigurationError):
    """An app cannot be imported, is not an App, or has an invalid declaration."""


class SourceError(TriggerfishError):
    """An operation on Redis failed. The work is not lost, and can be retried later."""

    #: A short, stable identifier for metrics and JSON.
    reason = "error"


class SourceUnavailableError(SourceError):
    """Redis cannot serve requests now: it is unreachable, loading, failing over, read-only or out of memory."""

    reason = "unavailable"


class SourceTimeoutError(SourceError):
    """Redis did not reply within the timeout."""

    reason = "timeout"


class AccessDeniedError(SourceError):
    """Redis rejected the user or password, or the ACL denies the command or the key."""

    reason = "access_denied"


class WrongTypeError(SourceError):
    """The key holds a value of another type than the trigger reads. Delete or rename the key, or change the trigger."""

    reason = "wrong_type"


class GroupMissingError(SourceError):
    """The stream or its consumer group does not exist."""

    reason = "group_missing"


class CommandRefusedError(SourceError):
    """Redis replied with an error that no other class covers."""

    reason = "refused"


class CallTimeoutError(TriggerfishError):
    """A call took longer than `call_timeout_seconds`. Raise the limit, or set timeouts inside the function.

    `limit_seconds` is the limit.
    """

    def __init__(self, limit_seconds: float) -> None:
        self.limit_seconds = limit_seconds
        super().__init__(f"took longer than {limit_seconds:g} s")


class MiddlewareError(TriggerfishError):
    """A middleware returned without awaiting `call_next()`, called it twice, or gave it an argument. The call counts as
    failed.
    """


class LifespanError(TriggerfishError):
    """The app's lifespan raised an error, or did not yield exactly once. The log has the traceback."""


class UnknownEntryError(TriggerfishError):
    """A `BatchError` named a position that its batch does not have, or was raised by a function that takes one entry.

    All entries of the call count as failed.
    """


class FunctionSignal(TriggerfishError):  # noqa: N818  (a signal, not an error)
    """Base class of exceptions that a function raises to decide what happens to its entries."""


class Retry(FunctionSignal):
    """Raised by a function to have its entry delivered again later.

    `after_seconds` is the minimum delay, 0 or more; without it, the usual back-off applies. The delivery counts towards
    `max_deliveries`.

    Raises ValueError if `after_seconds` is negative, infinite or NaN, and TypeError if the reason is a number.
    """

    def __init__(self, reason: str = "the function requested a retry", *, after_seconds: float | None = None) -> None:
        if isinstance(reason, int | float):
            raise TypeError(f"invalid reason {reason!r}: Write Retry(after_seconds={reason!r}).")
        if after_seconds is not None and not (0 <= after_seconds < math.inf):
            raise ValueError(f"invalid after_seconds {after_seconds!r}: Give a number of seconds, 0 or more.")
        self.after_seconds = after_seconds
        super().__init__(reason)


class Reject(FunctionSignal):
    """Raised by a function to have its entry dead-lettered now, with the reason, and never delivered again."""

    def __init__(self, reason: str = "the function rejected the entry") -> None:
        super().__init__(reason)


class BatchError(FunctionSignal):
    """Raised by a function that takes a list, if only some of its entries failed. The others are finished.

    `failures` has the reasons by position: `BatchError({0: error, 7: Reject("no such item")})` names the first and the
    eighth entry of the list. Any exception is a reason. Each of these entries is retried or dead-lettered as if a call
    with it alone had raised the reason, and its dead letter has the traceback of the reason.

    Raises ValueError if nothing is named, a position is not a whole number from 0 on, or a reason is not an exception.
    """

    def __init__(self, failures: Mapping[int, BaseException]) -> None:
        self.failures = _checked_failures(failures)
        super().__init__(failures)

    def __str__(self) -> str:
        """Return how many entries failed, and the first reason."""
        position, reason = next(iter(self.failures.items()))
        number = len(self.failures)
        what = f"entry {position}" if number == 1 else f"{number} entries of the batch failed, first entry {position}"
        return f"{what}: {describe_exception(reason, MAX_REASON_CHARACTERS)}"


def _checked_failures(failures: object) -> dict[int, BaseException]:
    fix = "Give a dict with the position of each entry that failed, counted from 0, and an exception for each."
    if not isinstance(failures, Mapping):
        raise ValueError(f"invalid failures of type {type(failures).__name__}: {fix}")
    if not failures:
        raise ValueError(f"invalid failures {{}}: No entry failed, so raise nothing. {fix}")
    checked: dict[int, BaseException] = {}
    for position, reason in failures.items():
        if isinstance(position, bool) or not isinstance(position, SupportsIndex) or operator.index(position) < 0:
            raise ValueError(f"invalid position {short_repr(position)[:MAX_SHOWN_CHARACTERS]} in failures: {fix}")
        if not isinstance(reason, BaseException) or isinstance(reason, BatchError):
            kind = f"class {reason.__name__}" if isinstance(reason, type) else f"type {type(reason).__name__}"
            raise ValueError(f"invalid reason of {kind} for entry {position}: {fix}")
        checked[operator.index(position)] = reason
    return checked
