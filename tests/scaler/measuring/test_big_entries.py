"""The cost of counting streams with big entries: XRANGE returns the payloads too."""

import pytest
import redis.asyncio

from listeners.functions.triggers import StreamTrigger
from listeners.redis.client import Client
from scaler.measuring.counting import CountCache
from scaler.measuring.lag import Lag
from scaler.measuring.measure import measure
from scaler.triggers.measured_trigger import MeasuredTrigger

pytestmark = pytest.mark.releases("redis-6.0", "redis-7.2")

MEASURED = MeasuredTrigger(StreamTrigger(keys=("big",), consumer_group="g"))
ENTRIES = 1000
ENTRY_BYTES = 10_000


@pytest.fixture
async def big(client: redis.asyncio.Redis) -> redis.asyncio.Redis:
    """A client of a server with a stream of big entries, whose lag must be counted."""
    async with client.pipeline(transaction=False) as pipeline:
        for number in range(ENTRIES + 1):
            pipeline.xadd("big", {"payload": b"x" * ENTRY_BYTES}, id=f"{number + 1}-0")
        pipeline.xdel("big", "1-0")
        await pipeline.execute()
    return client


async def lag(ours: Client, memory: CountCache) -> Lag | None:
    """Measure the lag."""
    [backlog] = (await measure(ours, await ours.server(), [MEASURED], memory)).values()
    return backlog.keys[0].lag  # type: ignore[union-attr]  # an error fails the test


async def sent_bytes(client: redis.asyncio.Redis) -> int:
    """Return how many bytes the server has sent."""
    return int((await client.info("stats"))["total_net_output_bytes"])


async def test_few_undelivered_entries_are_counted_by_reading_little(big: redis.asyncio.Redis, ours: Client) -> None:
    """With five undelivered entries, a long stream is not read through."""
    await big.xgroup_create("big", "g", f"{ENTRIES - 4}-0")
    before = await sent_bytes(big)
    assert await lag(ours, CountCache()) == Lag(5, "counted")
    assert await sent_bytes(big) - before < 20 * ENTRY_BYTES


async def test_an_expensive_count_is_not_repeated_at_once(big: redis.asyncio.Redis, ours: Client) -> None:
    """A count that read many bytes is reused for a while, even if the entries were few."""
    await big.xgroup_create("big", "g", "500-0")
    memory = CountCache()
    assert await lag(ours, memory) == Lag(501, "counted")
    before = await sent_bytes(big)
    assert await lag(ours, memory) == Lag(501, "counted")
    assert await sent_bytes(big) - before < 2 * ENTRY_BYTES + 20_000


async def test_counting_ends_at_its_deadline(
    big: redis.asyncio.Redis, ours: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A count that takes too long is reported as capped, since other triggers wait for it in the same round."""
    monkeypatch.setattr("scaler.measuring.counting.COUNT_SECONDS", 0.0)
    await big.xgroup_create("big", "g", "500-0")
    assert await lag(ours, CountCache()) == Lag(10, "counted", capped=True)


async def test_entries_delivered_since_a_count_are_counted_once(big: redis.asyncio.Redis, ours: Client) -> None:
    """Entries that are delivered after a reused count are pending, and no longer part of the lag."""
    await big.xgroup_create("big", "g", "500-0")
    memory = CountCache()
    assert await lag(ours, memory) == Lag(501, "counted")
    await big.xreadgroup("g", "consumer", {"big": ">"}, count=200)
    assert await lag(ours, memory) == Lag(301, "counted")
