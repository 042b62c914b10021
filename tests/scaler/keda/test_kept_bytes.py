"""What the scaler remembers for triggers and streams is bounded in bytes, and one namespace cannot displace others."""

import contextlib
import tracemalloc

import pytest
from grpc import StatusCode

from listeners.connections.named import Connections
from listeners.connections.spec import ConnectionSpec
from listeners.errors import LimitReachedError, SourceTimeoutError
from listeners.functions.triggers import ListTrigger
from scaler.access.access import Access
from scaler.evaluation.evaluator import MAX_TRACKED_BYTES, Evaluator
from scaler.keda import open_streams
from scaler.measuring.backlog import KeyBacklog, KeySample
from scaler.measuring.known_streams import KnownStreams
from scaler.measuring.queries import StreamQuery
from scaler.measuring.samplers import GuardedSamplers, Samplers
from scaler.triggers.measured_trigger import MeasuredTrigger
from scaler.triggers.metadata import MAX_METADATA_CHARACTERS, read_metadata
from scaler.triggers.owner import Owner
from tests.support.running_scaler import RunningScaler, failure
from tests.support.waiting import eventually

pytestmark = pytest.mark.releases("valkey-9.1")

LIST = {"type": "RedisListTrigger", "keys": "orders"}


def test_large_metadata_displaces_only_its_own_namespace() -> None:
    """10,000 triggers with the longest metadata keep a bounded number of bytes. Other triggers stay tracked."""
    evaluator = Evaluator(Access(Connections()), Samplers(bound_seconds=1, on_measured=lambda *_: None))
    evaluator.track(Owner("shop", "good"), read_metadata(LIST))
    evaluator.track(Owner("", "declared", declared=True), read_metadata(LIST))
    large = {**LIST, "app": "x" * (MAX_METADATA_CHARACTERS - 100)}
    for number in range(10_000):
        evaluator.track(Owner("evil", f"o{number}"), read_metadata(large))
    tracked = list(evaluator.tracked())
    assert {"good", "declared"} <= {one.owner.name for one in tracked}
    sizes = [one.size for one in tracked]
    assert MAX_TRACKED_BYTES / 2 < sum(sizes) <= MAX_TRACKED_BYTES
    assert min(one.size for one in tracked if one.owner.namespace == "evil") > 2 * len(large["app"])


def test_known_streams_keep_no_keys() -> None:
    """A thousand streams with the longest keys take less than a kilobyte each. Each result has its key again."""

    def query(number: int) -> StreamQuery:
        return StreamQuery(f"{number:04}" + "x" * MAX_METADATA_CHARACTERS, "g", 10_000)

    known = KnownStreams()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(1_000):
            one = query(number)
            known.record(one, KeySample(KeyBacklog(one.key, number), 0.0), 0.5, needs_pages=True)
            if number % 2:
                known.record_timeout(one, SourceTimeoutError("no reply"), 0.5)
        del one
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1_000_000
    kept = known.kept(query(42))
    assert isinstance(kept, KeySample)
    assert kept.backlog == KeyBacklog(query(42).key, 42)
    assert isinstance(known.kept(query(43)), SourceTimeoutError)


async def test_requests_of_open_streams_are_bounded(scaler: RunningScaler, monkeypatch: pytest.MonkeyPatch) -> None:
    """A namespace whose open streams keep too much gets RESOURCE_EXHAUSTED; others open streams. Ended ones free it."""
    monkeypatch.setattr(open_streams, "MAX_NAMESPACE_BYTES", 45_000)
    large = {**LIST, "app": "x" * 19_000}
    async with contextlib.AsyncExitStack() as opened:
        for number in range(2):
            await opened.enter_async_context(scaler.keda.activity(large, name=f"o{number}", namespace="evil"))

        async def both_open() -> bool:
            return sum((await scaler.samples())["triggerfish_open_streams"].values()) == 2

        await eventually(both_open)
        for stream in (scaler.keda.activity, scaler.keda.specs):
            async with stream(large, name="more", namespace="evil") as refused:
                assert await refused.code() == StatusCode.RESOURCE_EXHAUSTED
        async with scaler.keda.specs(large, namespace="shop") as good:
            await eventually(lambda: good.received)

    async def open_again() -> bool:
        async with scaler.keda.specs(large, namespace="evil") as stream:
            await eventually(lambda: stream.received or stream.call.done())
            return bool(stream.received)

    await eventually(open_again)


async def test_connection_strings_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A namespace with its part of the connection strings gets an error without a connection, and displaces no other.

    A namespace with fewer gets room from the one with the most. Databases of one server count separately.
    """
    monkeypatch.setattr("scaler.measuring.samplers.MAX_UNTRUSTED_SERVERS", 3)
    measured: list[ConnectionSpec] = []

    async def sample(_: Samplers, spec: ConnectionSpec, *__: object, **___: object) -> None:
        measured.append(spec)

    monkeypatch.setattr(Samplers, "sample", sample)
    samplers = GuardedSamplers(bound_seconds=1, on_measured=lambda *_: None)

    async def measure(namespace: str, database: int) -> bool:
        spec = ConnectionSpec("h", database=database, allowed_hosts=("h",), namespace=namespace)
        before = len(measured)
        try:
            await samplers.sample(spec, MeasuredTrigger(ListTrigger(keys=("k",))))
        except LimitReachedError:
            assert len(measured) == before
            return False
        return True

    assert [await measure("evil", database) for database in range(300)] == [True] * 3 + [False] * 297
    assert await measure("shop", 1_000)
    assert not await measure("evil", 0)  # it was the least recently used one
    assert [await measure("evil", 1), await measure("evil", 2), await measure("shop", 1_000)] == [True] * 3
    await samplers.close()


async def test_the_error_of_a_namespace_with_its_part(scaler: RunningScaler, monkeypatch: pytest.MonkeyPatch) -> None:
    """KEDA gets RESOURCE_EXHAUSTED."""
    monkeypatch.setattr("scaler.measuring.samplers.MAX_UNTRUSTED_SERVERS", 1)
    monkeypatch.setattr(scaler.server.evaluator._access, "allowed_hosts", ("cache.example",))
    with failure(StatusCode.UNAVAILABLE):
        await scaler.keda.target({**LIST, "connectionStringFromEnv": "cache.example:1"})
    with failure(StatusCode.RESOURCE_EXHAUSTED, "connectionString", "'shop'"):
        await scaler.keda.target({**LIST, "connectionStringFromEnv": "cache.example:2"})
