"""Leases in Kubernetes, through the real client, against a stand-in of the API server."""

import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from listeners.errors import AccessDeniedError, CommandRefusedError, SourceTimeoutError, SourceUnavailableError
from listeners.leases.kubernetes_lease import KubernetesLease, lease_name
from tests.support.kubernetes_api import LeaseApi, client_of
from tests.support.waiting import eventually

NAME = lease_name("test", "on_message")
Contender = Callable[..., KubernetesLease]


@pytest.fixture
async def contender(api: LeaseApi) -> AsyncIterator[Contender]:
    """Makes leases on the server: `contender(name, ttl_seconds)`."""
    async with contextlib.AsyncExitStack() as stack:

        def make(holder: str, ttl_seconds: float = 1.0) -> KubernetesLease:
            lease = KubernetesLease(client_of(api), "shop", NAME, holder, ttl_seconds)
            stack.push_async_callback(lease.close)
            return lease

        yield make


def spec(api: LeaseApi) -> dict[str, Any]:
    """What the server keeps of the Lease."""
    found: dict[str, Any] = api.leases[NAME]["spec"]
    return found


async def test_one_of_two_holds_it(api: LeaseApi, contender: Contender) -> None:
    """The first one creates the Lease; the other does not get it, however often the first renews."""
    first, second = contender("first"), contender("second")
    assert await first.acquire()
    assert (first.epoch, first.held) == (1, True)
    before = spec(api)
    for _ in range(3):
        assert await first.acquire()
        assert not await second.acquire()
    assert (second.held, spec(api)["holderIdentity"], spec(api)["leaseTransitions"]) == (False, "first", 1)
    assert spec(api)["acquireTime"] == before["acquireTime"]
    assert spec(api)["renewTime"] > before["renewTime"]
    assert spec(api)["leaseDurationSeconds"] == 1
    assert api.leases[NAME]["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "triggerfish"}


async def test_a_renewal_is_one_request(api: LeaseApi, contender: Contender) -> None:
    """Who holds it writes at once what it has written last; who stands by only reads."""
    first, second = contender("first"), contender("second")
    await first.acquire()
    api.requests.clear()
    await first.acquire()
    await second.acquire()
    assert api.requests == ["update", "get"]


async def test_it_is_taken_over_after_silence(api: LeaseApi, contender: Contender) -> None:
    """When the holder is silent another takes over after the duration, not earlier, and with the next epoch."""
    first, second = contender("first", 1), contender("second", 1)
    await first.acquire()
    began = time.monotonic()
    assert not await second.acquire()
    await eventually(second.acquire)
    assert 1 <= time.monotonic() - began < 2
    assert not first.held
    assert second.epoch == spec(api)["leaseTransitions"] == 2
    assert not await first.acquire()


@pytest.mark.parametrize("renewed", ["1999-01-01T00:00:00.000001Z", "2999-01-01T00:00:00.000001Z"])
async def test_clocks_do_not_matter(api: LeaseApi, contender: Contender, renewed: str) -> None:
    """A holder whose clock is wrong by centuries keeps the lease while it renews, and loses it when it does not."""
    first = contender("first", 1)
    for second in range(4):
        wrong = renewed.replace("00.", f"{second:02}.")
        api.put(NAME, holderIdentity="wrong", renewTime=wrong, leaseDurationSeconds=1, leaseTransitions=4)
        assert not await first.acquire()
    began = time.monotonic()
    await eventually(first.acquire)
    assert time.monotonic() - began > 0.9
    assert first.epoch == 5


async def test_the_holders_duration_counts(api: LeaseApi, contender: Contender) -> None:
    """One whose own lease time is shorter waits for as long as the holder says."""
    first = contender("first", 1)
    api.put(NAME, holderIdentity="slow", leaseDurationSeconds=2, leaseTransitions=1)
    began = time.monotonic()
    await eventually(first.acquire)
    assert 2 <= time.monotonic() - began < 3


async def test_a_change_of_metadata_is_no_sign_of_life(api: LeaseApi, contender: Contender) -> None:
    """Somebody who labels the Lease again and again does not keep a dead holder in its place."""
    first = contender("first", 1)
    api.put(NAME, holderIdentity="dead", leaseDurationSeconds=1)

    async def acquired() -> bool:
        api.put(NAME)  # a new resourceVersion
        return await first.acquire()

    await eventually(acquired, seconds=3)


async def test_a_conflict_is_no_lease(api: LeaseApi, contender: Contender, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads before another one writes gets a conflict, and is not the holder this time."""
    first, second = contender("first"), contender("second")
    api.put(NAME, holderIdentity="")
    read = first._read

    async def slow_read() -> object:
        lease = await read()
        assert await second.acquire()
        return lease

    monkeypatch.setattr(first, "_read", slow_read)
    assert not await first.acquire()
    assert (first.held, second.held, spec(api)["holderIdentity"]) == (False, True, "second")


async def test_two_that_create_it_at_once(api: LeaseApi, contender: Contender, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two that find no Lease one creates it."""
    first, second = contender("first"), contender("second")
    assert await second.acquire()

    async def missing() -> None:
        return None

    monkeypatch.setattr(first, "_read", missing)
    assert not await first.acquire()
    assert spec(api)["holderIdentity"] == "second"


async def test_a_holder_goes_on_after_a_foreign_change(api: LeaseApi, contender: Contender) -> None:
    """A label that somebody adds costs the holder a conflict and a second request, but not the lease."""
    first = contender("first")
    await first.acquire()
    api.put(NAME, acquireTime="2026-01-01T00:00:00.000000Z")  # a whole second, which must be written as one
    assert await first.acquire()
    assert (first.epoch, spec(api)["leaseTransitions"]) == (1, 1)


async def test_release_hands_over_at_once(api: LeaseApi, contender: Contender) -> None:
    """After a release the next one that looks is the holder, however long the lease is."""
    first, second = contender("first", 3600), contender("second", 3600)
    await first.acquire()
    assert not await second.acquire()
    assert await first.release()
    assert not first.held
    assert await second.acquire()
    assert second.epoch == 2
    assert not await first.release()
    assert spec(api)["holderIdentity"] == "second"


async def test_one_of_the_same_name_has_another_epoch(contender: Contender) -> None:
    """A process that is started anew under its old name need not wait, and gets an epoch of its own."""
    assert await contender("first", 3600).acquire()
    again = contender("first", 3600)
    assert await again.acquire()
    assert again.epoch == 2


@pytest.mark.parametrize("verb", ["get", "create", "update"])
async def test_what_the_role_lacks_is_named(api: LeaseApi, contender: Contender, verb: str) -> None:
    """A denied verb is an error that says which Role is needed, or what to set instead."""
    first = contender("first")
    if verb == "update":
        await first.acquire()
    api.denied.add(verb)
    with pytest.raises(AccessDeniedError) as raised:
        await first.acquire()
    for part in (verb, f"shop/{NAME}", "[coordination.k8s.io]", "[get, create, update]", "host.pubsub_lease=redis"):
        assert part in str(raised.value)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, AccessDeniedError),
        (404, CommandRefusedError),
        (429, SourceUnavailableError),
        (503, SourceUnavailableError),
    ],
)
async def test_other_answers(api: LeaseApi, contender: Contender, status: int, error: type[Exception]) -> None:
    """Each answer that is not what was asked for is one of our errors; an unknown namespace is one too."""
    api.status = status
    with pytest.raises(error):
        await contender("first").acquire()


async def test_an_outage_while_it_is_held(api: LeaseApi, contender: Contender) -> None:
    """A holder that cannot renew stops before its lease ends for others, and goes on when the API is back."""
    first, second = contender("first", 1), contender("second", 1)
    await first.acquire()
    held_until = time.monotonic() + 1
    assert not await second.acquire()
    api.silent = True
    with pytest.raises(SourceTimeoutError):
        await first.acquire()
    api.silent, api.status = False, 503
    with pytest.raises(SourceUnavailableError):
        await first.acquire()
    await eventually(lambda: not first.held)
    assert time.monotonic() < held_until
    api.status = None
    assert await first.acquire()
    assert (first.held, first.epoch) == (True, 1)


async def test_nobody_there(contender: Contender, api: LeaseApi) -> None:
    """A server that cannot be reached is an error that can be tried again."""
    api.url = "http://127.0.0.1:1"
    with pytest.raises(SourceUnavailableError):
        await contender("first").acquire()


async def test_an_answer_that_was_lost(api: LeaseApi, contender: Contender, monkeypatch: pytest.MonkeyPatch) -> None:
    """A renewal that was done but not confirmed is not lost: the next one finds the lease ours."""
    first = contender("first", 3600)
    await first.acquire()
    api.put(NAME, renewTime="2026-01-01T00:00:00.000001Z")  # as our own lost write would have
    assert await first.acquire()
    assert first.epoch == 1


def test_names() -> None:
    """A Lease's name is a DNS label that tells the function, and no two functions share one."""
    pairs = [("a-b", "c"), ("a", "b-c"), ("A", "b_c"), ("Überapp", "größe"), ("x" * 300, "y" * 300), ("", "\udcff")]
    names = [lease_name(app, function) for app, function in pairs]
    assert len(set(names)) == len(pairs)
    assert all(re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name) for name in names)
    assert lease_name("shop", "forget_order") == "triggerfish-shop-forget-order-199bed69e3"
