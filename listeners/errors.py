"""Every error that Triggerfish raises.

    TriggerfishError
    ├── ConfigurationError              what the user declared is wrong; nothing was started
    │   ├── ConnectionStringError       a connection string that does not parse
    │   ├── UnknownConnectionError      a named connection that the settings do not define
    │   ├── UnusableConnectionError     a named connection whose settings or files are wrong
    │   ├── ConnectionNotAllowedError   a connection that this namespace may not use
    │   ├── BindingError                a function whose parameter cannot be bound
    │   ├── MissingExtraError           an optional package that a command needs
    │   └── AppLoadError                an app that cannot be imported
    ├── SourceError                     Redis (or Kubernetes, for a lease) did not do what was asked; try again later
    │   ├── SourceUnavailableError      not reachable, loading, failing over, out of memory
    │   ├── SourceTimeoutError          no answer within the bound
    │   ├── AccessDeniedError           wrong password, or the ACL denies the command or key
    │   ├── WrongTypeError              the key holds another type
    │   ├── GroupMissingError           the stream or its consumer group is gone
    │   └── CommandRefusedError         any other error reply
    ├── CallTimeoutError                a call took longer than its limit, and counts as failed
    └── FunctionSignal                  what a user's function may raise about its entry
        ├── Retry                       deliver it again later
        └── Reject                      never deliver it again: dead-letter it

Errors of redis-py become SourceErrors in `listeners.translation`, and nowhere else; those of the Kubernetes client in
`listeners.kubernetes_lease`.
"""

import math

__all__ = [
    "AccessDeniedError",
    "AppLoadError",
    "BindingError",
    "CallTimeoutError",
    "CommandRefusedError",
    "ConfigurationError",
    "ConnectionNotAllowedError",
    "ConnectionStringError",
    "FunctionSignal",
    "GroupMissingError",
    "MissingExtraError",
    "Reject",
    "Retry",
    "SourceError",
    "SourceTimeoutError",
    "SourceUnavailableError",
    "TriggerfishError",
    "UnknownConnectionError",
    "UnusableConnectionError",
    "WrongTypeError",
]

MAX_SHOWN = 120


class TriggerfishError(Exception):
    """The root of every error that Triggerfish raises."""


class ConfigurationError(TriggerfishError):
    """Something declared is wrong: names the field, the value and the fix.

    `field` is the declared name, `value` what was given (never a secret), `fix` a sentence that says what to write.
    """

    def __init__(self, field: str, value: object, fix: str) -> None:
        self.field = field
        self.value = value
        self.fix = fix
        super().__init__(f"invalid {field} {_shown(value)}: {fix}" if value is not None else f"{field}: {fix}")


def _shown(value: object) -> str:
    """A value as an error shows it: a megabyte of metadata must not become a megabyte of log."""
    shown = repr(value)
    return shown if len(shown) <= MAX_SHOWN else f"{shown[:MAX_SHOWN]}..."


class ConnectionStringError(ConfigurationError):
    """A connection string does not parse. Its value is never shown, as it may hold a password."""

    def __init__(self, fix: str, field: str = "connection_string") -> None:
        super().__init__(field, None, fix)


class UnknownConnectionError(ConfigurationError):
    """A trigger names a connection that the settings do not define."""


class UnusableConnectionError(ConfigurationError):
    """A named connection contradicts itself, or a file of it cannot be used."""


class ConnectionNotAllowedError(ConfigurationError):
    """A connection is limited to other namespaces, or connection strings are not accepted here."""


class BindingError(ConfigurationError):
    """A function's parameter cannot be bound to what the trigger delivers."""


class MissingExtraError(ConfigurationError):
    """An optional package is needed that is not installed."""


class AppLoadError(ConfigurationError):
    """An app cannot be imported, or is not an App."""


class SourceError(TriggerfishError):
    """Redis did not do what was asked. The work is not lost: try again later."""

    #: A short, stable word for metrics and JSON.
    reason = "error"


class SourceUnavailableError(SourceError):
    """Redis cannot serve now: not reachable, loading, failing over, read-only or out of memory."""

    reason = "unavailable"


class SourceTimeoutError(SourceError):
    """Redis did not answer within the bound."""

    reason = "timeout"


class AccessDeniedError(SourceError):
    """Redis refused the user or password, or the ACL denies the command or the key."""

    reason = "access_denied"


class WrongTypeError(SourceError):
    """The key holds another type than the trigger reads. Delete or rename the key, or change the trigger."""

    reason = "wrong_type"


class GroupMissingError(SourceError):
    """The stream or its consumer group does not exist."""

    reason = "group_missing"


class CommandRefusedError(SourceError):
    """Redis answered a command with an error."""

    reason = "refused"


class CallTimeoutError(TriggerfishError):
    """A call took longer than `call_timeout_seconds`. Raise the limit, or bound what the function waits for.

    `limit_seconds` is the limit.
    """

    def __init__(self, limit_seconds: float) -> None:
        self.limit_seconds = limit_seconds
        super().__init__(f"took longer than {limit_seconds:g} s")


class FunctionSignal(TriggerfishError):  # noqa: N818  (not an error: an answer)
    """What a function may raise to say what should happen to its entry."""


class Retry(FunctionSignal):
    """Deliver this entry again later.

    `after_seconds` is the least time to wait; without it the usual back-off applies. The delivery counts.
    """

    def __init__(
        self, reason: str = "the function asked for another try", *, after_seconds: float | None = None
    ) -> None:
        if after_seconds is not None and not (0 <= after_seconds < math.inf):
            raise ValueError(f"after_seconds: {after_seconds!r} is no time to wait. Give seconds, 0 or more.")
        self.after_seconds = after_seconds
        super().__init__(reason)


class Reject(FunctionSignal):
    """Never deliver this entry again: dead-letter it now, with the reason."""

    def __init__(self, reason: str = "the function rejected the entry") -> None:
        super().__init__(reason)
