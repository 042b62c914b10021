"""Streams whose entries are big, and what counting them costs: XRANGE brings the payloads along."""

import pytest
import redis.asyncio

from listeners.functions.triggers import StreamTrigger
from listeners.redis.client import Client
from scaler.measuring.counting import CountMemory
from scaler.measuring.lag import Lag
from scaler.measuring.measure import measure
from scaler.triggers.measured_trigger import MeasuredTrigger

pytestmark = pytest.mark.releases("redis-6.0", "redis-7.2")

SUBJECT = MeasuredTrigger(StreamTrigger(keys=("big",), consumer_group="g"))
ENTRIES = 1000
ENTRY_BYTES = 10_000


@pytest.fixture
async def big(client: redis.asyncio.Redis) -> redis.asyncio.Redis:
    """A client; the server has a stream of big entries whose lag must be counted."""
    async with client.pipeline(transaction=False) as pipeline:
        for number in range(ENTRIES + 1):
            pipeline.xadd("big", {"payload": b"x" * ENTRY_BYTES}, id=f"{number + 1}-0")
        pipeline.xdel("big", "1-0")
        await pipeline.execute()
    return client


async def lag(ours: Client, memory: CountMemory) -> Lag | None:
    """The lag, measured."""
    [backlog] = (await measure(ours, await ours.server(), [SUBJECT], memory)).values()
    return backlog.keys[0].lag  # type: ignore[union-attr]  # or the test fails


async def sent_bytes(client: redis.asyncio.Redis) -> int:
    """All that the server has sent so far."""
    return int((await client.info("stats"))["total_net_output_bytes"])


async def test_a_near_end_is_found_by_reading_little(big: redis.asyncio.Redis, ours: Client) -> None:
    """With five entries left, a long stream is not read."""
    await big.xgroup_create("big", "g", f"{ENTRIES - 4}-0")
    before = await sent_bytes(big)
    assert await lag(ours, CountMemory()) == Lag(5, "counted")
    assert await sent_bytes(big) - before < 20 * ENTRY_BYTES


async def test_a_costly_count_is_not_made_again_at_once(big: redis.asyncio.Redis, ours: Client) -> None:
    """A count that read much is used again for a while, also if the entries were few."""
    await big.xgroup_create("big", "g", "500-0")
    memory = CountMemory()
    assert await lag(ours, memory) == Lag(501, "counted")
    before = await sent_bytes(big)
    assert await lag(ours, memory) == Lag(501, "counted")
    assert await sent_bytes(big) - before < 2 * ENTRY_BYTES + 20_000


async def test_counting_ends_in_time(big: redis.asyncio.Redis, ours: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes too long to count is told as far as it was counted: other triggers wait for it in the same round."""
    monkeypatch.setattr("scaler.measuring.counting.COUNT_SECONDS", 0.0)
    await big.xgroup_create("big", "g", "500-0")
    assert await lag(ours, CountMemory()) == Lag(10, "counted", capped=True)


async def test_what_is_delivered_meanwhile_counts_once(big: redis.asyncio.Redis, ours: Client) -> None:
    """Entries that were delivered after a count which is used again are pending, and no longer lag."""
    await big.xgroup_create("big", "g", "500-0")
    memory = CountMemory()
    assert await lag(ours, memory) == Lag(501, "counted")
    await big.xreadgroup("g", "consumer", {"big": ">"}, count=200)
    assert await lag(ours, memory) == Lag(301, "counted")
