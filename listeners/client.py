"""Redis clients, and the one place where redis-py's errors become ours."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from listeners.connection import ConnectionSpec
from listeners.errors import (
    AccessDeniedError,
    CommandRefusedError,
    GroupMissingError,
    SourceError,
    SourceTimeoutError,
    SourceUnavailableError,
    WrongTypeError,
)
from listeners.server import Server

__all__ = ["learn_server", "open_client", "translate", "translated"]

#: Longer than any blocking read of ours, so that a read that waits is not taken for a server that hangs.
SOCKET_TIMEOUT_SECONDS = 5.0
CONNECT_TIMEOUT_SECONDS = 3.0
MAX_CONNECTIONS = 8


def open_client(
    spec: ConnectionSpec,
    client_name: str,
    *,
    timeout_seconds: float = SOCKET_TIMEOUT_SECONDS,
    max_connections: int = MAX_CONNECTIONS,
) -> Redis:
    """A client for one Redis, which connects at its first command.

    It never sends a command again by itself: a reply that was lost may mean a command that was done, and a second
    LPOP takes a second element. Answers come as the server sends them, in RESP2, which every server version speaks.
    `client_name` is what CLIENT LIST shows.
    """
    options: dict[str, Any] = {
        "db": spec.database,
        "username": spec.username,
        "password": spec.password.get_secret_value() if spec.password else None,
        "client_name": re.sub(r"[^!-~]", "-", client_name),
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": timeout_seconds,
        "max_connections": max_connections,
        "socket_connect_timeout": min(CONNECT_TIMEOUT_SECONDS, timeout_seconds),
    }
    if spec.unix_path is not None:
        client = Redis(unix_socket_path=spec.unix_path, **options)
    else:
        client = Redis(host=spec.host, port=spec.port, ssl=spec.tls, **options)
    for command in [command for command in client.response_callbacks if command != "INFO"]:
        del client.response_callbacks[command]
    return client


async def learn_server(client: Redis) -> Server:
    """Ask the server what it is (INFO). A server that denies INFO is treated as the oldest one.

    Raises SourceError if it cannot be reached, or refuses the user or password.
    """
    try:
        with translated("INFO server"):
            info = await client.info("server")
    except (AccessDeniedError, CommandRefusedError) as error:
        if isinstance(error.__cause__, exceptions.AuthenticationError):
            raise  # not INFO is denied, but everything
        return Server()
    if "valkey_version" in info:
        return Server("Valkey", _version(info["valkey_version"]))
    return Server("Redis", _version(info.get("redis_version", "0")))


def _version(version: object) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", str(version))[:3]) or (0,)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the errors of redis-py and of the network into SourceErrors that say what was being done."""
    try:
        yield
    except (exceptions.RedisError, OSError, TimeoutError) as error:
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
        "LOADING|READONLY|MASTERDOWN|MISCONF|OOM|BUSY|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|UNKILLABLE|max number of clients",
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
