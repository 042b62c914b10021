"""The slow lane: it bounds the time that streams take the server, and does not delay the fast lane."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import redis.asyncio

from listeners.connections.strings import parse_connection_string
from listeners.errors import SourceTimeoutError, SourceUnavailableError
from listeners.functions.triggers import ListTrigger, StreamTrigger
from listeners.redis.client import Client
from listeners.redis.server_info import ServerInfo
from scaler.measuring import queries
from scaler.measuring.backlog import KeyBacklog, KeySample
from scaler.measuring.known_streams import KnownStreams
from scaler.measuring.lag import Lag
from scaler.measuring.queries import Reply, StreamQuery
from scaler.measuring.sampler import Sampler
from scaler.measuring.slow_lane import KeyResult, SlowLane
from scaler.triggers.measured_trigger import MeasuredTrigger
from tests.servers.catalogue import RELEASES, present
from tests.support.measuring import new_slow_lane
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

LIST = MeasuredTrigger(ListTrigger(keys=("q",)))
STREAM = MeasuredTrigger(StreamTrigger(keys=("s",), consumer_group="g"))
QUERY = StreamQuery("s", "g", 10_000)
BOUND_SECONDS = 0.5


@pytest.fixture
async def sampler(server: Server) -> AsyncIterator[Sampler]:
    """A sampler of the release's server with a short bound."""
    sampler = Sampler(
        parse_connection_string(server.address), bound_seconds=BOUND_SECONDS, on_measured=lambda seconds, error: None
    )
    yield sampler
    await sampler.close()


def reported(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Make the server report that each script takes it this long."""
    monkeypatch.setattr(Reply, "seconds", seconds)


async def result(slow_lane: SlowLane, query: StreamQuery, server: ServerInfo) -> KeySample:
    """Return the sample of a stream. An error fails the test."""
    found = await slow_lane.measure(query, server)
    assert isinstance(found, KeySample), found
    return found


@pytest.mark.releases("redis-6.2", "redis-7.2", "valkey-9.1")
async def test_a_costly_stream_is_not_measured_again_at_once(
    server: Server, client: redis.asyncio.Redis, ours: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result that took the server t is returned for 100 t, with its age, in whatever lane it was measured."""
    reported(monkeypatch, 0.2)
    await client.xadd("s", {"f": "v"})
    slow_lane, info = new_slow_lane(ours), await ours.server()
    first = await result(slow_lane, QUERY, info)
    await client.xadd("s", {"f": "v"})
    await client.config_resetstat()
    for _ in range(3):
        assert await result(slow_lane, QUERY, info) == first
    assert "cmdstat_xlen" not in await client.info("commandstats")
    later = SimpleNamespace(monotonic=lambda: first.taken_at + 100 * 0.2 + 10.0)
    monkeypatch.setattr("scaler.measuring.known_streams.time", later)
    second = await result(slow_lane, QUERY, info)
    assert second.backlog.entries == 2


def test_results_are_kept_by_what_they_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result is kept for 100 times what it cost, at most 60 s, and not at all if it was cheap."""
    now = 1_000.0
    monkeypatch.setattr("scaler.measuring.known_streams.time", SimpleNamespace(monotonic=lambda: now))
    sample = KeySample(KeyBacklog("s", 1, lag=Lag(1, "counted")), now)

    def kept_for(cost_seconds: float) -> float:
        nonlocal now
        known, now = KnownStreams(), 1_000.0
        known.record(QUERY, sample, cost_seconds, needs_pages=True)
        while known.kept(QUERY) is not None:
            now += 0.5
        return now - 1_000.0

    assert kept_for(0.0001) == 0
    assert kept_for(0.05) == 5
    assert kept_for(0.8) == 60


def test_what_is_known_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of known streams is bounded, however many are requested."""
    monkeypatch.setattr("scaler.measuring.known_streams.MAX_STREAMS", 10)
    known = KnownStreams()
    for number in range(100):
        query = StreamQuery(f"s{number}", "g", 10_000)
        known.record(query, KeySample(KeyBacklog(query.key, 0), 0.0), 0.0, needs_pages=False)
    assert sum(known.cost_seconds(StreamQuery(f"s{number}", "g", 10_000)) is not None for number in range(100)) == 10


def steps(monkeypatch: pytest.MonkeyPatch, seconds: float) -> list[int]:
    """Record the number of streams of each step of the slow lane, each of which costs this long."""
    reported(monkeypatch, seconds)
    monkeypatch.setattr("scaler.measuring.known_streams.KEPT_MULTIPLE", 0)
    sizes: list[int] = []

    async def counted(client: Client, server: ServerInfo, groups: Sequence[Any]) -> list[Reply]:
        sizes.append(len(groups))
        return await queries.run(client, server, groups)

    monkeypatch.setattr("scaler.measuring.slow_lane.run", counted)
    return sizes


@pytest.mark.parametrize(("seconds", "most"), [(0.0001, 100), (0.004, 4), (0.05, 4)])
@pytest.mark.releases("valkey-9.1")
async def test_steps_are_sized_by_time(
    server: Server, ours: Client, monkeypatch: pytest.MonkeyPatch, seconds: float, most: int
) -> None:
    """Few unknown streams are tried together. Then a step takes as many as it can in 10 ms, and at least one."""
    sizes = steps(monkeypatch, seconds)
    slow_lane, info = new_slow_lane(ours), await ours.server()
    several = [StreamQuery(f"s{number}", "g", 10_000) for number in range(200)]
    await asyncio.gather(*(result(slow_lane, query, info) for query in several))
    assert sizes[0] <= 4
    assert max(sizes) <= most
    assert (max(sizes) > 50) == (seconds < 0.001)
    sizes.clear()
    await asyncio.gather(*(result(slow_lane, query, info) for query in several))
    assert max(sizes) <= max(1, 0.01 / seconds)


@pytest.mark.releases("redis-7.4")
async def test_big_entries_are_tried_one_by_one(
    server: Server, client: redis.asyncio.Redis, ours: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams whose state was cheap to read are not read together where their entries are costly."""
    steps(monkeypatch, 0.0)
    monkeypatch.setattr(Reply, "seconds", property(lambda reply: 0.0001 if reply.values[0][3] is None else 0.05))
    together: list[int] = []

    async def counted(client: Client, server: ServerInfo, groups: Sequence[Any]) -> list[Reply]:
        together.append(sum(call.arguments[-1] != 0 for _, (call,) in groups))
        return await queries.run(client, server, groups)

    monkeypatch.setattr("scaler.measuring.slow_lane.run", counted)
    several = [StreamQuery(f"s{number}", "g", 10_000) for number in range(40)]
    for query in several:
        for number in range(1, 5):
            await client.xadd(query.key, {"f": "v"}, id=f"{number}-0")
        await client.xdel(query.key, "3-0")
        await client.xgroup_create(query.key, "g", "2-0")
    slow_lane, info = new_slow_lane(ours), await ours.server()
    samples = await asyncio.gather(*(result(slow_lane, query, info) for query in several))
    assert {sample.backlog.entries for sample in samples} == {1}
    assert max(together) == 1


@pytest.mark.releases("redis-6.2", "redis-7.4", "valkey-9.1")
async def test_a_slow_lane_that_hangs_delays_no_other(
    client: redis.asyncio.Redis, sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the slow lane hangs, lists are measured, and a stream has its last sample or an error that says so."""
    await client.rpush("q", 1, 2)
    await client.xadd("s", {"f": "v"})
    reported(monkeypatch, 0.2)
    first = await sampler.sample(STREAM)
    other = MeasuredTrigger(StreamTrigger(keys=("other",)))

    async def hang(*_: object) -> list[Reply]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr("scaler.measuring.slow_lane.run", hang)
    monkeypatch.setattr("scaler.measuring.slow_lane.KnownStreams.kept", lambda *_: None)
    requested = [asyncio.create_task(sampler.sample(trigger, fresh=True)) for trigger in (STREAM, other)]
    for _ in range(5):
        assert (await sampler.sample(LIST, fresh=True)).backlog.entries == 2
    stale = await requested[0]
    assert (stale.backlog, stale.taken_at) == (first.backlog, first.taken_at)
    with pytest.raises(SourceTimeoutError, match=r"stream other .* takes longer than 0\.5 s"):
        await requested[1]
    assert (await sampler.sample(LIST, fresh=True)).backlog.entries == 2


@pytest.mark.releases("valkey-9.1")
async def test_a_timeout_in_the_slow_lane_is_no_outage(
    client: redis.asyncio.Redis, sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that Redis does not answer about is tried again after a pause; others are measured meanwhile."""
    attempts = 0

    async def fail(*_: object) -> list[Reply]:
        nonlocal attempts
        attempts += 1
        return [Reply([TimeoutError("no reply")])]

    monkeypatch.setattr("scaler.measuring.slow_lane.run", fail)
    monkeypatch.setattr("scaler.measuring.known_streams.CHEAP_SECONDS", 0.0)
    for _ in range(3):
        with pytest.raises(SourceTimeoutError, match="stream 's'"):
            await sampler.sample(STREAM, fresh=True)
        assert (await sampler.sample(LIST, fresh=True)).backlog.entries == 0
    assert attempts == 1


@pytest.mark.releases("valkey-9.1")
async def test_a_server_that_refuses_in_the_slow_lane_is_in_an_outage(
    client: redis.asyncio.Redis, sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Redis that answers INFO and refuses everything else, as while it loads, is not tried by every request."""

    async def refuse(*_: object) -> list[Reply]:
        return [Reply([redis.BusyLoadingError("LOADING Redis is loading the dataset in memory")])]

    monkeypatch.setattr("scaler.measuring.slow_lane.run", refuse)
    with pytest.raises(SourceUnavailableError, match="stream 's'"):
        await sampler.sample(STREAM, fresh=True)
    with pytest.raises(SourceUnavailableError, match="failing since"):
        await sampler.sample(STREAM, fresh=True)


@pytest.mark.parametrize("release", present("redis-6.2", "valkey-9.1"))
async def test_a_server_that_is_down_is_in_an_outage_for_streams_alone(release: str) -> None:
    """A Redis of which only streams are measured, and that refuses connections, is not tried by every request."""
    own = RELEASES[release].start()
    sampler = Sampler(parse_connection_string(own.address), bound_seconds=5.0, on_measured=lambda seconds, error: None)
    try:
        assert (await sampler.sample(STREAM)).backlog.entries == 0
        own.process.kill()
        own.process.wait()
        with pytest.raises(SourceUnavailableError):
            await sampler.sample(STREAM, fresh=True)
        with pytest.raises(SourceUnavailableError, match="failing since"):
            await sampler.sample(STREAM, fresh=True)
    finally:
        await sampler.close()
        own.stop()


@pytest.mark.releases("valkey-9.1")
async def test_a_request_during_a_measurement_is_measured_after_it(
    client: redis.asyncio.Redis, ours: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is added while a stream is measured is in the sample of a request that came after it."""
    running, proceed = asyncio.Event(), asyncio.Event()

    async def delayed(client: Client, server: ServerInfo, groups: Sequence[Any]) -> list[Reply]:
        replies = await queries.run(client, server, groups)
        running.set()
        await proceed.wait()
        return replies

    monkeypatch.setattr("scaler.measuring.slow_lane.run", delayed)
    monkeypatch.setattr("scaler.measuring.known_streams.KEPT_MULTIPLE", 0)
    slow_lane, info = new_slow_lane(ours), await ours.server()
    first = slow_lane.measure(QUERY, info)
    await running.wait()
    await client.xadd("s", {"f": "v"})
    second = slow_lane.measure(QUERY, info)
    assert slow_lane.measure(QUERY, info) is second
    proceed.set()
    found: tuple[KeyResult, KeyResult] = await asyncio.gather(first, second)
    assert [one.backlog.entries for one in found if isinstance(one, KeySample)] == [0, 1]


@pytest.mark.releases("redis-6.2", "valkey-9.1")
async def test_streams_change_lanes(
    server: Server, client: redis.asyncio.Redis, ours: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream enters the fast lane once it was cheap, and leaves it when it is costly."""
    monkeypatch.setattr("scaler.measuring.known_streams.KEPT_MULTIPLE", 0)
    slow_lane, info = new_slow_lane(ours), await ours.server()
    for seconds, fast in ((0.0001, True), (0.1, False), (0.0001, True)):
        reported(monkeypatch, seconds)
        await result(slow_lane, QUERY, info)
        assert slow_lane.known.is_fast(QUERY) == fast


@pytest.mark.releases("valkey-9.1")
async def test_closing_ends_every_request(server: Server, ours: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests of a slow lane that is closed get an error, whether they are in a step or not."""
    running = asyncio.Event()

    async def hang(*_: object) -> list[Reply]:
        running.set()
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr("scaler.measuring.slow_lane.run", hang)
    slow_lane, info = new_slow_lane(ours), await ours.server()
    requests = [slow_lane.measure(StreamQuery(f"s{number}", "g", 1), info) for number in range(20)]
    await running.wait()
    await slow_lane.close()
    await eventually(lambda: all(request.done() for request in requests))
    assert all(isinstance(request.result(), SourceUnavailableError) for request in requests)
