"""Elements that are popped: no lease, no suspect, and one delivery."""

import redis.asyncio
from prometheus_client import CollectorRegistry

from tests.listeners.lists.conftest import OpenSource
from tests.listeners.lists.sources import KEY, dead, dead_letters, payloads, retried, succeeded, take


async def test_popped_elements(client: redis.asyncio.Redis, open_source: OpenSource, version: tuple[int, ...]) -> None:
    """Elements are popped, settling keeps nothing, and there is nothing to renew or suspect."""
    source = await open_source(delivery="at-most-once")
    await client.rpush(KEY, "a", "b", "c")
    entries = await take(source)
    assert payloads(entries) == ([b"a", b"b", b"c"] if version >= (6, 2) else [b"a"])
    assert source.may_start(entries[0])
    await source.renewal().renew(entries)
    assert source.may_start(entries[0])
    assert await source.settle([succeeded(entries[0]), retried(entries[-1])]) == []
    assert not source.suspects.is_set()
    assert await source.take_suspect() is None
    await client.delete(KEY)
    assert await client.keys("*") == []


async def test_only_elements_that_did_not_start_are_pushed_back(
    client: redis.asyncio.Redis, open_source: OpenSource
) -> None:
    """A release pushes back elements whose call did not start, where they were; the others had their delivery."""
    source = await open_source(delivery="at-most-once")
    await client.rpush(KEY, "a", "b", "c", "d")
    entries = [entry for _ in range(3) for entry in await take(source, 1)]
    entries[1].started_at = 1.0
    await source.release(entries)
    assert await client.lrange(KEY, 0, -1) == [b"a", b"c", b"d"]


async def test_dead_letters(client: redis.asyncio.Redis, open_source: OpenSource, registry: CollectorRegistry) -> None:
    """An element whose call failed becomes a dead letter with its payload; dropped ones are counted."""
    source = await open_source(delivery="at-most-once")
    for number in range(10_000):
        client_command = ("XADD", "triggerfish:{q}:dead", f"0-{number + 1}", "f", "v")
        if number % 1_000 == 0:
            pipeline = client.pipeline(transaction=False)
        pipeline.execute_command(*client_command)
        if number % 1_000 == 999:
            await pipeline.execute()
    await client.rpush(KEY, b"\xff")
    (entry,) = await take(source)
    assert await source.settle([dead(entry)]) == []
    letters = await dead_letters(client)
    assert (letters[-1][b"payload"], letters[-1][b"error"]) == (b"\xff", b"ValueError: broken")
    labels = {"app": "test", "function": "handle"}
    dropped = registry.get_sample_value("triggerfish_dead_letters_dropped_total", labels)
    assert dropped == 10_001 - len(letters)
