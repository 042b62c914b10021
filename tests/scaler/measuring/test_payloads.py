"""Payloads do not cross the wire: what measuring a stream costs does not depend on what its entries or groups hold."""

import asyncio
import itertools
from collections.abc import Iterator

import pytest
import redis.asyncio

from listeners.connections.strings import parse_connection_string
from listeners.functions.triggers import ListTrigger, StreamTrigger
from listeners.redis.client import Client
from scaler.measuring.backlog import Backlog
from scaler.measuring.lag import Lag
from scaler.measuring.sampler import Sample, Sampler
from scaler.triggers.measured_trigger import MeasuredTrigger
from tests.support.measuring import measure_now, new_slow_lane
from triggerfish.testing.server import Server

SMALL, BIG = 10, 1_000_000
#: More than the replies to a sample of all the streams of a test, and much less than one entry.
FEW_BYTES = 100_000


def stream(key: str) -> MeasuredTrigger:
    """Return a trigger of one stream."""
    return MeasuredTrigger(StreamTrigger(keys=(key,), consumer_group="g"))


async def add(client: redis.asyncio.Redis, key: str, entries: int, size: int) -> None:
    """Add entries 1-0, 2-0, ... of a size."""
    for number in range(1, entries + 1):
        await client.xadd(key, {"payload": b"x" * size}, id=f"{number}-0")


async def sent_bytes(client: redis.asyncio.Redis) -> int:
    """Return how many bytes the server has sent."""
    return int((await client.info("stats"))["total_net_output_bytes"])


@pytest.fixture(autouse=True)
def _nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaler.measuring.known_streams.KEPT_MULTIPLE", 0)


async def test_bytes_do_not_depend_on_the_size_of_entries(
    server: Server, client: redis.asyncio.Redis, ours: Client
) -> None:
    """Samples of streams with entries of 1 MB and of 10 bytes take the same bytes, wherever their group is."""
    positions = ["0", "2-0", "4-0", "5-0"]
    expected = [5, 2, 1, 0]
    sent = {}
    for size in (SMALL, BIG):
        keys = [f"{position}-of-{size:07}" for position in positions]
        for key, position in zip(keys, positions, strict=True):
            await add(client, key, 5, size)
            await client.xgroup_create(key, "g", position)
            if position == "2-0":
                await client.xdel(key, "4-0")  # no release before 8.2 reports the lag
        triggers, slow_lane = [stream(key) for key in keys], new_slow_lane(ours)
        await measure_now(ours, triggers)  # connects, and loads the scripts
        before = await sent_bytes(client)
        for _ in range(2):  # unknown and known
            found = await measure_now(ours, triggers, slow_lane=slow_lane, server=await ours.server())
            assert [backlog.entries for backlog in found.values() if isinstance(backlog, Backlog)] == expected
        sent[size] = await sent_bytes(client) - before
    assert abs(sent[BIG] - sent[SMALL]) < 1024


@pytest.mark.releases("redis-5.0", "redis-6.2", "redis-7.2", "valkey-9.1")
async def test_thousands_of_groups(server: Server, client: redis.asyncio.Redis, ours: Client) -> None:
    """Only the wanted group of a stream with 20,000 others is returned."""
    await add(client, "s", 3, SMALL)
    async with client.pipeline(transaction=False) as pipeline:
        for number in range(20_000):
            pipeline.xgroup_create("s", f"other-{number}", "0")
        pipeline.xgroup_create("s", "g", "1-0")
        await pipeline.execute()
    before = await sent_bytes(client)
    [backlog] = (await measure_now(ours, [stream("s")])).values()
    assert isinstance(backlog, Backlog)
    assert backlog.entries == 2
    assert await sent_bytes(client) - before < FEW_BYTES


@pytest.mark.timeout(120)
@pytest.mark.releases("redis-6.2", "redis-7.4", "valkey-9.1")
async def test_huge_entries_beside_a_list(server: Server, client: redis.asyncio.Redis) -> None:
    """Beside 40 streams with entries of 3 MB and one of 90 MB, a list is answered first; all are answered correctly,
    and the scaler receives a few bytes.
    """
    sizes = {f"s{number}": 3_000_000 for number in range(40)} | {"huge": 90_000_000}
    for key, size in sizes.items():
        await client.xadd(key, {"payload": b"x" * size}, id="1-0")
        await client.xgroup_create(key, "g", "0")
    await client.rpush("q", *range(7))
    spec = parse_connection_string(server.address)
    sampler = Sampler(spec, bound_seconds=60.0, on_measured=lambda seconds, error: None)
    answered: list[str] = []

    async def sample(name: str, trigger: MeasuredTrigger) -> Sample:
        found = await sampler.sample(trigger)
        answered.append(name)
        return found

    try:
        before = await sent_bytes(client)
        streams = {key: stream(key) for key in sizes}
        samples = await asyncio.gather(
            *itertools.starmap(sample, streams.items()), sample("q", MeasuredTrigger(ListTrigger(keys=("q",))))
        )
        assert answered[0] == "q"
        assert [found.backlog.entries for found in samples] == [*[1] * len(sizes), 7]
        assert await sent_bytes(client) - before < FEW_BYTES
    finally:
        await sampler.close()
        await client.flushall()


def counts() -> Iterator[tuple[str, int]]:
    """Yield positions of a group in a stream of 1,000 entries without the first, and the lag."""
    yield "995-0", 5
    yield "500-0", 500
    yield "3-0", 997


@pytest.mark.parametrize(("position", "lag"), list(counts()))
@pytest.mark.releases("redis-6.0", "redis-7.2")
async def test_counting_costs_few_bytes(
    server: Server, client: redis.asyncio.Redis, ours: Client, position: str, lag: int
) -> None:
    """Counting hundreds of big entries returns numbers only, and begins at both ends."""
    async with client.pipeline(transaction=False) as pipeline:
        for number in range(1, 1001):
            pipeline.xadd("s", {"payload": b"x" * 10_000}, id=f"{number}-0")
        pipeline.xdel("s", "1-0")
        pipeline.xgroup_create("s", "g", position)
        await pipeline.execute()
    before = await sent_bytes(client)
    [backlog] = (await measure_now(ours, [stream("s")])).values()
    assert isinstance(backlog, Backlog)
    assert backlog.keys[0].lag == Lag(lag, "counted")
    assert await sent_bytes(client) - before < FEW_BYTES
