"""Errors: the hierarchy as documented, and the translation of redis-py's errors."""

import asyncio
import pickle
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
import redis.asyncio.sentinel
import redis.sentinel
from redis import exceptions

from listeners import errors
from listeners.errors import (
    AccessDeniedError,
    BatchError,
    CommandRefusedError,
    ConfigurationError,
    ConnectionStringError,
    GroupMissingError,
    Reject,
    Retry,
    SourceError,
    SourceTimeoutError,
    SourceUnavailableError,
    TriggerfishError,
    WrongTypeError,
)
from listeners.redis.error_translation import translate, translated

REASONS = {
    "access_denied": AccessDeniedError,
    "group_missing": GroupMissingError,
    "refused": CommandRefusedError,
    "timeout": SourceTimeoutError,
    "unavailable": SourceUnavailableError,
    "wrong_type": WrongTypeError,
}


def tree(cls: type[BaseException]) -> list[type[BaseException]]:
    """Return a class and all its subclasses."""
    return [cls] + [below for subclass in cls.__subclasses__() for below in tree(subclass)]


def own_tree(cls: type[BaseException], depth: int = 0) -> Iterator[tuple[int, str]]:
    """Yield the depth and name of a class and of its subclasses in listeners.errors."""
    yield depth, cls.__name__
    for subclass in cls.__subclasses__():
        if subclass.__module__ == errors.__name__:
            yield from own_tree(subclass, depth + 1)


def reply(kind: type[exceptions.RedisError], message: str = "") -> exceptions.RedisError:
    """Create an error of redis-py. Some of its classes need a message in a certain form."""
    if issubclass(kind, exceptions.AskError):
        return kind("1234 127.0.0.1:7000")
    return kind(message)


def test_the_documented_tree_is_the_class_hierarchy() -> None:
    """The tree in the module's docstring is the class hierarchy."""
    assert errors.__doc__ is not None
    lines = errors.__doc__.split("\n\n")[1].splitlines()
    words = [re.search(r"\w+", line) for line in lines]
    # Each level of the tree is four characters wide, as is the docstring's indentation.
    shown = [(word.start() // 4 - 1, word[0]) for word in words if word is not None]
    assert shown == list(own_tree(TriggerfishError))
    assert {name for _, name in shown} == set(errors.__all__)


def test_every_exception_is_exported() -> None:
    """Every class in the module is in the tree and is exported."""
    own = {name: value for name, value in vars(errors).items() if getattr(value, "__module__", "") == errors.__name__}
    classes = {name for name, value in own.items() if isinstance(value, type)}
    assert classes == set(errors.__all__)


def test_reasons() -> None:
    """Each subclass of SourceError has a distinct reason, and the reasons do not change."""
    assert {cls.reason: cls for cls in SourceError.__subclasses__()} == REASONS


@pytest.mark.parametrize("kind", tree(exceptions.RedisError), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_error_of_redis_py_is_translated(kind: type[exceptions.RedisError]) -> None:
    """Every error of redis-py is translated, and the message names the operation."""
    with pytest.raises(SourceError, match=r"^XINFO STREAM: .") as caught, translated("XINFO STREAM"):
        raise reply(kind, "something")
    assert type(caught.value) in REASONS.values()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (exceptions.AuthenticationError("WRONGPASS"), AccessDeniedError),
        (exceptions.AuthorizationError(), AccessDeniedError),
        (exceptions.NoPermissionError("no permissions to run XADD"), AccessDeniedError),
        (exceptions.AuthenticationWrongNumberOfArgsError(), AccessDeniedError),
        (exceptions.TimeoutError("Timeout reading"), SourceTimeoutError),
        (TimeoutError(), SourceTimeoutError),  # asyncio's too
        (socket.timeout("timed out"), SourceTimeoutError),  # noqa: UP041  (the name that sockets raise it by)
        (exceptions.ConnectionError("Connection closed by server."), SourceUnavailableError),
        (exceptions.BusyLoadingError("LOADING"), SourceUnavailableError),
        (exceptions.MaxConnectionsError(), SourceUnavailableError),
        (exceptions.ReadOnlyError(), SourceUnavailableError),
        (exceptions.OutOfMemoryError(), SourceUnavailableError),
        (exceptions.ClusterDownError("CLUSTERDOWN"), SourceUnavailableError),
        (exceptions.MasterDownError("MASTERDOWN"), SourceUnavailableError),
        (exceptions.TryAgainError(), SourceUnavailableError),
        (redis.sentinel.MasterNotFoundError(), SourceUnavailableError),
        (redis.asyncio.sentinel.SlaveNotFoundError(), SourceUnavailableError),
        (ConnectionRefusedError(111, "refused"), SourceUnavailableError),
        (ConnectionResetError(), SourceUnavailableError),
        (socket.gaierror(-2, "Name or service not known"), SourceUnavailableError),
        (ssl.SSLCertVerificationError("certificate has expired"), SourceUnavailableError),
        (OSError(), SourceUnavailableError),
        (exceptions.NoScriptError("No matching script"), CommandRefusedError),
        (exceptions.InvalidResponse("Protocol Error"), CommandRefusedError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_classes(error: Exception, expected: type[SourceError]) -> None:
    """An error is translated by its class."""
    assert type(translate(error, "PING")) is expected


CODES = [
    ("WRONGTYPE Operation against a key holding the wrong kind of value", WrongTypeError),
    ("NOGROUP No such key 's' or consumer group 'g'", GroupMissingError),
    ("UNBLOCKED the stream key no longer exists", GroupMissingError),
    (
        "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
        SourceUnavailableError,
    ),
    ("NOPERM User ann has no permissions to run the 'xadd' command", AccessDeniedError),
    ("NOPERM this user has no permissions to access one of the keys used as arguments", AccessDeniedError),
    ("NOAUTH Authentication required.", AccessDeniedError),
    ("WRONGPASS invalid username-password pair or user is disabled.", AccessDeniedError),
    ("The user executing the script can't run this command or subcommand", AccessDeniedError),
    ("ACL failure in script: User ann has no permissions to run the 'ltrim' command", AccessDeniedError),
    ("The user executing the script can't access at least one of the keys mentioned", AccessDeniedError),
    ("LOADING Redis is loading the dataset in memory", SourceUnavailableError),
    ("READONLY You can't write against a read only replica.", SourceUnavailableError),
    ("MASTERDOWN Link with MASTER is down", SourceUnavailableError),
    ("MISCONF Redis is configured to save RDB snapshots", SourceUnavailableError),
    ("OOM command not allowed when used memory > 'maxmemory'.", SourceUnavailableError),
    ("BUSY Redis is busy running a script.", SourceUnavailableError),
    ("UNKILLABLE Sorry the script already executed write commands", SourceUnavailableError),
    ("CLUSTERDOWN The cluster is down", SourceUnavailableError),
    ("TRYAGAIN Multiple keys request during rehashing of slot", SourceUnavailableError),
    ("NOREPLICAS Not enough good replicas to write.", SourceUnavailableError),
    ("max number of clients reached", SourceUnavailableError),
    ("BUSYGROUP Consumer Group name already exists", CommandRefusedError),
    ("BUSYKEY Target key name already exists.", CommandRefusedError),
    ("NOSCRIPT No matching script", CommandRefusedError),
    ("ERR unknown command 'LMPOP'", CommandRefusedError),
    ("ERR syntax error", CommandRefusedError),
    ("", CommandRefusedError),
]


@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "{} script: 5e6a, on @user_script:3.",
        "Error running script (call to f_5e6a): @user_script:3: @user_script: 3: -{}",
        "Error running script (call to f_5e6a): @user_script:3: {}",
        "-{} script: 5e6a, on @user_script:3.",
    ],
)
@pytest.mark.parametrize(("message", "expected"), CODES)
def test_codes(message: str, expected: type[SourceError], form: str) -> None:
    """An error reply is translated by its code, also when it comes from a script."""
    assert type(translate(exceptions.ResponseError(form.format(message)), "EVALSHA")) is expected


@pytest.mark.parametrize("error", [ValueError("no"), asyncio.CancelledError(), KeyError("k"), SourceTimeoutError("x")])
def test_other_errors_pass(error: BaseException) -> None:
    """Errors that come neither from redis-py nor from the network pass unchanged."""
    with pytest.raises(type(error)) as caught, translated("PING"):
        raise error
    assert caught.value is error


def test_the_cause_is_kept() -> None:
    """A SourceError has the original error as its cause."""
    cause = exceptions.ConnectionError("gone")
    with pytest.raises(SourceUnavailableError, match=r"^LLEN q: gone$") as caught, translated("LLEN q"):
        raise cause
    assert caught.value.__cause__ is cause


@pytest.mark.parametrize("kind", [cls for cls in tree(ConfigurationError) if cls is not ConnectionStringError])
def test_configuration_errors(kind: type[ConfigurationError]) -> None:
    """A ConfigurationError prints the field, the value and the fix, and has each as an attribute."""
    error = kind("keys", "", "A key is empty.")
    assert str(error) == "invalid keys '': A key is empty."
    assert (error.field, error.value, error.fix) == ("keys", "", "A key is empty.")
    assert str(kind("keys", None, "It is missing.")) == "keys: It is missing."


def test_long_values_are_truncated() -> None:
    """Only the beginning of a very long value is printed."""
    assert len(str(ConfigurationError("keys", "x" * 1_000_000, "Shorten it."))) < 200


def test_a_number_that_python_refuses_to_show() -> None:
    """Its size is shown, also of one in a list."""
    for value in (10**5_000, [10**5_000]):
        assert "a number of 16610 bits" in str(ConfigurationError("batch_size", value, "Lower it."))


def test_a_value_that_is_larger_than_its_parts() -> None:
    """A value of nested lists that contain each other is shown in part, without making the text of all."""
    value: list[object] = ["x"]
    for _ in range(30):
        value = [value] * 9
    assert len(str(ConfigurationError("keys", value, "Fix it."))) < 200


class Index:
    """A whole number of another type, as numpy has."""

    def __index__(self) -> int:
        return 2


@pytest.mark.parametrize("seconds", [60, 1.5])
def test_a_number_as_the_reason_of_a_retry(seconds: float) -> None:
    """It is the delay of other libraries, which has a name here."""
    with pytest.raises(TypeError, match=rf"Write Retry\(after_seconds={seconds}\)"):
        Retry(seconds)  # type: ignore[arg-type]


def test_a_batch_error() -> None:
    """It keeps the reasons by position, and its text has the number and the first one, in bounds."""
    reasons = {Index(): ValueError("no"), 0: Reject()}
    error = BatchError(reasons)  # type: ignore[arg-type]
    assert error.failures == {2: next(iter(reasons.values())), 0: reasons[0]}
    assert str(error) == "2 entries of the batch failed, first entry 2: ValueError: no"
    assert str(BatchError({7: ValueError("x" * 10_000)})).startswith("entry 7: ValueError: xxx")
    assert len(str(BatchError({7: ValueError("x" * 10_000)}))) < 600
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301
    reasons.clear()
    assert len(error.failures) == 2


@pytest.mark.parametrize(
    ("failures", "message"),
    [
        ({}, r"^invalid failures {}: No entry failed, so raise nothing\. Give a dict with the position"),
        ([ValueError()], r"^invalid failures of type list: Give a dict"),
        (None, r"^invalid failures of type NoneType: "),
        (ValueError(), r"^invalid failures of type ValueError: "),
        ({-1: ValueError()}, r"^invalid position -1 in failures: "),
        ({True: ValueError()}, r"^invalid position True in failures: "),
        ({1.0: ValueError()}, r"^invalid position 1\.0 in failures: "),
        ({"1-0": ValueError()}, r"^invalid position '1-0' in failures: "),
        ({("x" * 1_000_000,): ValueError()}, r"^invalid position .{1,150} in failures: "),
        ({0: "no stock"}, r"^invalid reason of type str for entry 0: "),
        ({0: None}, r"^invalid reason of type NoneType for entry 0: "),
        ({0: Retry}, r"^invalid reason of class Retry for entry 0: .*an exception for each"),
        ({0: BatchError({0: ValueError()})}, r"^invalid reason of type BatchError for entry 0: "),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_invalid_batch_errors(failures: Any, message: str) -> None:
    """What names no entry, or gives no exception, is an error, so that the whole call fails rather than nothing."""
    with pytest.raises(ValueError, match=message):
        BatchError(failures)
