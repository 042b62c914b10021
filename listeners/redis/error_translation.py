"""Translate errors of redis-py and of the network to SourceErrors. Nothing else does."""

import errno
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
from listeners.redis.dialer import HandshakeError

__all__ = ["TRANSLATED", "is_command_refused", "translate", "translated"]

TRANSLATED = (exceptions.RedisError, OSError, TimeoutError)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Translate errors of redis-py and of the network to SourceErrors whose text begins with `doing`."""
    try:
        yield
    except TRANSLATED as error:
        raise translate(error, doing) from error


#: By error class; the first match counts.
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

#: By the code of an error reply, as a whole word (BUSYGROUP is not BUSY). In a script's error the code is in the middle
#: of the text.
_BY_CODE: tuple[tuple[str, type[SourceError]], ...] = (
    ("WRONGTYPE", WrongTypeError),
    ("NOGROUP", GroupMissingError),
    # Blocking reads end when a primary becomes a replica, and when their stream is deleted.
    ("instance state changed", SourceUnavailableError),
    ("UNBLOCKED", GroupMissingError),
    ("NOPERM|NOAUTH|WRONGPASS|can't run this command|can't access|ACL failure", AccessDeniedError),
    (
        "LOADING|READONLY|MASTERDOWN|MOVED|ASK|MISCONF|OOM|BUSY|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|UNKILLABLE|"
        "max number of clients",
        SourceUnavailableError,
    ),
)


def translate(error: BaseException, doing: str) -> SourceError:
    """Return the SourceError for an error of redis-py or the network. `doing` is what failed, without any secret."""
    message = f"{doing}: {_text(error)}"
    for classes, error_class in _BY_CLASS:
        if isinstance(error, classes):
            return error_class(message)
    for codes, error_class in _BY_CODE:
        if re.search(rf"\b(?:{codes})\b", str(error)):
            return error_class(message)
    return CommandRefusedError(message)


def is_command_refused(error: SourceError) -> bool:
    """Return whether the server does not have the command, or denies it to this user: another command may work."""
    refusal = isinstance(error, AccessDeniedError | CommandRefusedError)
    cause = error.__cause__
    return refusal and isinstance(cause, exceptions.ResponseError) and not isinstance(cause, HandshakeError)


#: redis-py's text for a refused connection: "Error 111 connecting to host:port. ..." For a name with several addresses,
#: the text of asyncio takes the place of the number.
_REFUSED = re.compile(
    rf"Error (?:{errno.ECONNREFUSED}|Multiple exceptions: \[Errno {errno.ECONNREFUSED}\].*)"
    r" connecting to (\S+)\.(?: |$)"
)


#: By the text of an error: the fix, where it is in the server's configuration.
_FIXES = (
    ("used memory > 'maxmemory", "Raise maxmemory, or remove data"),
    ("NOREPLICAS", "Attach a replica, or lower min-replicas-to-write"),
    ("Hash slot not served", "Have the cluster's nodes serve every slot: CLUSTER INFO shows what is missing"),
)

#: The error in a script of a user who may not run a command, and of a server without it, which only the latter names.
_DENIED_IN_SCRIPT = re.compile(r"\bACL failure\b|can't (?:run this command|access)")
_UNKNOWN = re.compile(r"unknown command [`']([^`']+)[`']|Unknown (?:Redis )?command called")


def _text(error: BaseException) -> str:
    """Return the text of an error, with the fix if nothing listens at the address, or a replica does."""
    if refused := _REFUSED.search(str(error)):
        return (
            f"connecting to {refused[1]} was refused. Is Redis running there? Its address comes from --connection, "
            "TRIGGERFISH_CONNECTION, the trigger, or the program that makes the Host"
        )
    if isinstance(error, exceptions.ReadOnlyError) or "READONLY" in str(error):
        return f"{str(error).rstrip('.')}. Give the address of the primary, or those of Sentinels with serviceName=..."
    for code, fix in _FIXES:
        if re.search(rf"\b(?:{code})\b", str(error)):
            return f"{str(error).rstrip('.')}. {fix}"
    if isinstance(error, exceptions.NoPermissionError) or _DENIED_IN_SCRIPT.search(str(error)):
        return f"{str(error).rstrip('.')}. Allow it with the command that `triggerfish check --acl` prints"
    if not isinstance(error, HandshakeError) and (unknown := _UNKNOWN.search(str(error))):
        which = "" if unknown[1] else ", which `triggerfish check` names,"
        return f"{str(error).rstrip('., ')}. The server has renamed or disabled this command{which} or is too old"
    return str(error) or type(error).__name__
