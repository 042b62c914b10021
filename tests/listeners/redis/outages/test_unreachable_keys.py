"""UnreachableKeys: which keys of a trigger are left out while a node of a cluster is down."""

from types import SimpleNamespace
from typing import cast

import pytest

from listeners.errors import (
    AccessDeniedError,
    SourceError,
    SourceTimeoutError,
    SourceUnavailableError,
    WrongTypeError,
)
from listeners.redis.client import Client
from listeners.redis.outages.unreachable_keys import UnreachableKeys

DOWN, SLOW = SourceUnavailableError("PING: refused"), SourceTimeoutError("PING: no answer")


def unreachable_keys(*, cluster: bool = True) -> UnreachableKeys:
    """The keys a1 and a2 on node a, and b1 on node b."""
    client = SimpleNamespace(is_cluster=cluster, primary_of=lambda key: key[0])
    return UnreachableKeys(cast(Client, client), ("a1", "a2", "b1"), lambda: None)


def fail(unreachable: UnreachableKeys, key: str, error: SourceError) -> None:
    """Have a command on a key fail."""
    with pytest.raises(type(error)), unreachable.probing(key):
        raise error


@pytest.mark.parametrize(("error", "left"), [(DOWN, ["a2", "b1"]), (SLOW, ["b1"])])
def test_left_out_until_it_answers(error: SourceError, left: list[str]) -> None:
    """A key is left out at once, and after a timeout the others of its node as well, until each is reached."""
    unreachable = unreachable_keys()
    fail(unreachable, "a1", error)
    assert unreachable.found.is_set()
    assert list(unreachable.without(["a1", "a2", "b1"])) == left
    with pytest.raises(type(error), match="PING"), unreachable.reaching("a1"):
        pytest.fail("it was asked again")
    for key in ("a1", "a2"):
        with unreachable.probing(key):
            pass
    assert list(unreachable.without(["a1", "a2", "b1"])) == ["a1", "a2", "b1"]


@pytest.mark.parametrize("error", [AccessDeniedError("x"), WrongTypeError("x")])
def test_a_refusal_is_an_answer(error: SourceError) -> None:
    """A node that refuses a command is up."""
    unreachable = unreachable_keys()
    fail(unreachable, "a1", error)
    assert not unreachable.leaves_out("a1")
    fail(unreachable, "a1", DOWN)
    fail(unreachable, "a1", error)
    assert not unreachable.leaves_out("a1")


def test_errors_of_all_keys_are_raised() -> None:
    """Without any key that can be reached none is left out, so that each is tried and the error is reported."""
    unreachable = unreachable_keys()
    for key in ("a1", "a2"):
        with unreachable.passing_over(key):
            raise DOWN
    with pytest.raises(SourceUnavailableError), unreachable.passing_over("b1"):
        raise DOWN
    assert not any(map(unreachable.leaves_out, ("a1", "a2", "b1")))
    with unreachable.reaching("b1"):
        pass
    assert list(unreachable.without(["a1", "a2", "b1"])) == ["b1"]


def test_timeouts_are_not_passed_over() -> None:
    """The caller may have asked for too much."""
    unreachable = unreachable_keys()
    with pytest.raises(SourceTimeoutError), unreachable.passing_over("a1"):
        raise SLOW


def test_without_a_cluster() -> None:
    """All keys are on one server, whose outage is that of all of them."""
    unreachable = unreachable_keys(cluster=False)
    fail(unreachable, "a1", DOWN)
    assert not unreachable.leaves_out("a1")
    assert not unreachable.found.is_set()
