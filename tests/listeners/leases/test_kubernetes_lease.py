"""Leases in Kubernetes, through the real client and against a stand-in for the API server."""

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
    """A factory of leases on the server: `contender(name, ttl_seconds)`."""
    async with contextlib.AsyncExitStack() as stack:

        def make(holder: str, ttl_seconds: float = 1.0) -> KubernetesLease:
            lease = KubernetesLease(client_of(api), "shop", NAME, holder, ttl_seconds)
            stack.push_async_callback(lease.close)
            return lease

        yield make


def spec(api: LeaseApi) -> dict[str, Any]:
    """Return the spec of the Lease on the server."""
    found: dict[str, Any] = api.leases[NAME]["spec"]
    return found


async def test_one_of_two_contenders_holds_the_lease(api: LeaseApi, contender: Contender) -> None:
    """The first contender creates the Lease; the second does not get it, however often the first renews."""
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
    """The holder updates its last version without reading it again; a standby only reads."""
    first, second = contender("first"), contender("second")
    await first.acquire()
    api.requests.clear()
    await first.acquire()
    await second.acquire()
    assert api.requests == ["update", "get"]


async def test_a_silent_holder_is_replaced(api: LeaseApi, contender: Contender) -> None:
    """When the holder is silent, another takes over after the duration, not earlier, with the next epoch."""
    first, second = contender("first", 1), contender("second", 1)
    await first.acquire()
    began = time.monotonic()
    assert not await second.acquire()
    await eventually(second.acquire)
    assert time.monotonic() - began >= 1
    assert not first.held
    assert second.epoch == spec(api)["leaseTransitions"] == 2
    assert not await first.acquire()


@pytest.mark.parametrize("renewed", ["1999-01-01T00:00:00.000001Z", "2999-01-01T00:00:00.000001Z"])
async def test_clocks_do_not_matter(api: LeaseApi, contender: Contender, renewed: str) -> None:
    """A holder whose clock is wrong by centuries keeps the lease while it renews, and loses it when it stops."""
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
    """A contender with a shorter lease time waits for the duration that the holder has set."""
    first = contender("first", 1)
    api.put(NAME, holderIdentity="slow", leaseDurationSeconds=2, leaseTransitions=1)
    began = time.monotonic()
    await eventually(first.acquire)
    assert time.monotonic() - began >= 2


async def test_a_change_of_metadata_is_not_a_renewal(api: LeaseApi, contender: Contender) -> None:
    """Repeated changes of the Lease's metadata do not keep a dead holder in place."""
    first = contender("first", 1)
    api.put(NAME, holderIdentity="dead", leaseDurationSeconds=1)

    async def acquired() -> bool:
        api.put(NAME)  # a new resourceVersion
        return await first.acquire()

    await eventually(acquired, seconds=3)


async def test_a_conflict_does_not_grant_the_lease(
    api: LeaseApi, contender: Contender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A contender that reads before another one writes gets a conflict, and does not become the holder."""
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


async def test_concurrent_creation(api: LeaseApi, contender: Contender, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two contenders that find no Lease, one creates it."""
    first, second = contender("first"), contender("second")
    assert await second.acquire()

    async def missing() -> None:
        return None

    monkeypatch.setattr(first, "_read", missing)
    assert not await first.acquire()
    assert spec(api)["holderIdentity"] == "second"


async def test_a_holder_survives_a_foreign_change(api: LeaseApi, contender: Contender) -> None:
    """A change by another client costs the holder a conflict and more requests, but not the lease."""
    first = contender("first")
    await first.acquire()
    api.put(NAME, acquireTime="2026-01-01T00:00:00.000000Z")  # a whole second, which must be written with a fraction
    assert await first.acquire()
    assert (first.epoch, spec(api)["leaseTransitions"]) == (1, 1)


async def test_release_hands_over_at_once(api: LeaseApi, contender: Contender) -> None:
    """After a release, the next contender that tries becomes the holder, however long the lease is."""
    first, second = contender("first", 3600), contender("second", 3600)
    await first.acquire()
    assert not await second.acquire()
    assert await first.release()
    assert not first.held
    assert await second.acquire()
    assert second.epoch == 2
    assert not await first.release()
    assert spec(api)["holderIdentity"] == "second"


async def test_a_restarted_instance_gets_a_new_epoch(contender: Contender) -> None:
    """A process that restarts under its old name need not wait, and gets a new epoch."""
    assert await contender("first", 3600).acquire()
    again = contender("first", 3600)
    assert await again.acquire()
    assert again.epoch == 2


@pytest.mark.parametrize("verb", ["get", "create", "update"])
async def test_a_denied_verb_is_reported(api: LeaseApi, contender: Contender, verb: str) -> None:
    """A denied verb is an error that describes the Role that is needed, and the setting that avoids it."""
    first = contender("first")
    if verb == "update":
        await first.acquire()
    api.denied.add(verb)
    with pytest.raises(AccessDeniedError) as raised:
        await first.acquire()
    for part in (verb, f"shop/{NAME}", "[coordination.k8s.io]", "[get, create, update]", "host.pubsub_lease=redis"):
        assert part in str(raised.value)


async def test_a_token_that_is_not_accepted(api: LeaseApi, contender: Contender) -> None:
    """A rejected token is an error about the token, not about a Role."""
    api.status = 401
    with pytest.raises(AccessDeniedError, match=r"401.*expired.*service account.*host.pubsub_lease=redis") as raised:
        await contender("first").acquire()
    assert "Role" not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, AccessDeniedError),
        (404, CommandRefusedError),
        (429, SourceUnavailableError),
        (503, SourceUnavailableError),
    ],
)
async def test_other_errors(api: LeaseApi, contender: Contender, status: int, error: type[Exception]) -> None:
    """Every unexpected response becomes a SourceError, also that for an unknown namespace."""
    api.status = status
    with pytest.raises(error):
        await contender("first").acquire()


async def test_an_outage_while_it_is_held(api: LeaseApi, contender: Contender) -> None:
    """A holder that cannot renew stops before its lease ends for others, and resumes when the API is back."""
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
    await eventually(lambda: time.monotonic() >= held_until)
    assert not first.held
    api.status = None
    assert await first.acquire()
    assert (first.held, first.epoch) == (True, 1)


async def test_an_unreachable_server(contender: Contender, api: LeaseApi) -> None:
    """An unreachable server is an error that can be retried."""
    api.url = "http://127.0.0.1:1"
    with pytest.raises(SourceUnavailableError):
        await contender("first").acquire()


async def test_a_lost_response(api: LeaseApi, contender: Contender, monkeypatch: pytest.MonkeyPatch) -> None:
    """A renewal whose response was lost does not cost the lease: the next one finds the same holder."""
    first = contender("first", 3600)
    await first.acquire()
    api.put(NAME, renewTime="2026-01-01T00:00:00.000001Z")  # as the write with the lost response did
    assert await first.acquire()
    assert first.epoch == 1


def test_names() -> None:
    """A Lease's name is a DNS label that shows the function, and no two functions share one."""
    pairs = [("a-b", "c"), ("a", "b-c"), ("A", "b_c"), ("Überapp", "größe"), ("x" * 300, "y" * 300), ("", "\udcff")]
    names = [lease_name(app, function) for app, function in pairs]
    assert len(set(names)) == len(pairs)
    assert all(re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name) for name in names)
    assert lease_name("shop", "forget_order") == "triggerfish-shop-forget-order-199bed69e3"
