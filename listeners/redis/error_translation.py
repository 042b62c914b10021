"""The one place where errors of redis-py and of the network become ours."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions

from listeners.errors import (
    AccessDeniedError,
    CommandRefusedError,
    GroupMissingError,
    SourceError,
    SourceTimeoutError,
    SourceUnavailableError,
    WrongTypeError,
)

__all__ = ["TRANSLATED", "translate", "translated"]

TRANSLATED = (exceptions.RedisError, OSError, TimeoutError)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the errors of redis-py and of the network into SourceErrors that say what was being done."""
    try:
        yield
    except TRANSLATED as error:
        raise translate(error, what) from error


#: By error class, the first that fits.
_BY_CLASS: tuple[tuple[tuple[type[Exception], ...], type[SourceError]], ...] = (
    (
        (
            exceptions.AuthenticationError,
            exceptions.AuthorizationError,
            exceptions.AuthenticationWrongNumberOfArgsError,
            exceptions.NoPermissionError,
        ),
        AccessDeniedError,
    ),
    ((exceptions.TimeoutError, TimeoutError), SourceTimeoutError),
    (
        (
            exceptions.ConnectionError,
            exceptions.ReadOnlyError,
            exceptions.OutOfMemoryError,
            exceptions.ClusterError,
            exceptions.ClusterDownError,
            exceptions.TryAgainError,
            exceptions.AskError,
            OSError,
        ),
        SourceUnavailableError,
    ),
)

#: By the code of an error reply, as a whole word (BUSYGROUP is not BUSY); inside a script's error the code stands in
#: the middle of the text.
_BY_CODE: tuple[tuple[str, type[SourceError]], ...] = (
    ("WRONGTYPE", WrongTypeError),
    ("NOGROUP", GroupMissingError),
    # A primary that became a replica ends blocking reads; so does a stream that was deleted.
    ("instance state changed", SourceUnavailableError),
    ("UNBLOCKED", GroupMissingError),
    ("NOPERM|NOAUTH|WRONGPASS|can't run this command|can't access|ACL failure", AccessDeniedError),
    (
        "LOADING|READONLY|MASTERDOWN|MOVED|ASK|MISCONF|OOM|BUSY|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|UNKILLABLE|"
        "max number of clients",
        SourceUnavailableError,
    ),
)


def translate(error: BaseException, what: str) -> SourceError:
    """The SourceError that an error of redis-py or of the network means. `what` was being done, without any secret."""
    message = f"{what}: {str(error) or type(error).__name__}"
    for classes, ours in _BY_CLASS:
        if isinstance(error, classes):
            return ours(message)
    for codes, ours in _BY_CODE:
        if re.search(rf"\b(?:{codes})\b", str(error)):
            return ours(message)
    return CommandRefusedError(message)
