"""Records that Redis lost, that are older than they should be, that a stepped clock has dated, or that are damaged."""

import logging

import pytest
import redis.asyncio
from prometheus_client import CollectorRegistry

from listeners.keys import dead_letters_key, elements_key, inflight_key
from tests.listeners.lists.conftest import OpenSource
from tests.listeners.lists.sources import (
    KEY,
    dead,
    dead_letters,
    end_leases,
    in_flight,
    payloads,
    records,
    retried,
    succeeded,
    suspect,
    take,
)
from tests.servers.catalogue import REPRESENTATIVE
from tests.support.waiting import eventually

pytestmark = pytest.mark.releases(*REPRESENTATIVE)

HOUR_MS = 3_600_000


async def test_redis_loses_everything(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """After FLUSHALL, nothing that a holder says about a lost element touches those pushed and taken since."""
    source, other = await open_source(), await open_source()
    renewal = source.renewal()
    await client.rpush(KEY, "a", "b", "c", "d")
    old = await take(source)
    await client.flushall()
    await client.rpush(KEY, "w", "x", "y", "z")
    new = [*await take(source, 2), *await take(other, 2)]
    before, recorded = await in_flight(client), await records(client)
    assert not {entry.receipt for entry in old} & set(before)
    assert await source.settle([succeeded(old[0]), retried(old[1]), dead(old[2])]) == []
    await source.release(old)
    await renewal.renew(old)
    assert not any(source.may_start(entry) for entry in old)
    assert (await in_flight(client), await records(client)) == (before, recorded)
    assert recorded == [b"1:w", b"1:x", b"1:y", b"1:z"]
    assert await dead_letters(client) == []
    assert payloads(new) == [b"w", b"x", b"y", b"z"]


async def test_redis_returns_to_older_data(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """After an older snapshot, elements are delivered again. Holders from after the snapshot touch nothing."""
    source = await open_source()
    await client.rpush(KEY, "a", "b", "c")
    (held,) = await take(source, 1)
    snapshot = {key: await client.execute_command("DUMP", key) for key in await client.keys("*")}
    lost = await take(source)  # b and c: unknown to the snapshot
    await source.settle([succeeded(held)])
    await client.flushall()
    for key, content in snapshot.items():
        await client.restore(key, 0, content)

    later = await open_source()
    new = await take(later)
    assert payloads(new) == [b"b", b"c"]
    await source.settle([succeeded(entry) for entry in lost])
    assert await records(client) == [b"1:a", b"1:b", b"1:c"]
    await source.settle([succeeded(held)])  # the same element in the same life of it: nobody else has taken it
    assert await later.settle([succeeded(entry) for entry in new]) == []
    assert await client.keys("*") == []


async def test_the_clock_of_the_server_steps_back(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """A lease or delay that ends later than now plus its own length is over, regardless of holder and length."""
    dead_host, source = await open_source(), await open_source(lease_seconds=0.1)
    await client.rpush(KEY, *range(1_200))
    taken = await take(dead_host, 1_200)
    await dead_host.settle([retried(taken[0], 60_000), retried(taken[1], 2 * HOUR_MS)])
    ahead = {member: score + HOUR_MS for member, score in (await in_flight(client)).items()}
    long_wait = next(member for member in ahead if member.endswith(b":w1:%d" % (2 * HOUR_MS)))
    ahead[long_wait] -= HOUR_MS  # a wait that is as long as it should be
    await client.zadd(inflight_key(KEY), ahead)
    assert await take(source) == []
    assert not source.suspects.is_set()
    await source.maintain()
    (due,) = await take(source)
    assert due.deliveries == 2
    assert source.suspects.is_set()
    left = await in_flight(client)
    assert left[long_wait] == ahead[long_wait]
    assert list(left.values()).count(0) == 1_198
    (entry,) = [await suspect(source)]
    assert entry.deliveries == 1


async def test_small_steps_of_the_clock_end_no_lease(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """A clock that is set back by some milliseconds ends no lease: its holder is alive."""
    source = await open_source(lease_seconds=0.1)
    holder = await open_source()
    await client.rpush(KEY, "a")
    await take(holder)
    ((member, score),) = (await in_flight(client)).items()
    await client.zadd(inflight_key(KEY), {member: score + 100})
    await source.maintain()
    assert (await in_flight(client))[member] == score + 100


async def test_the_clock_of_the_server_steps_forward(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """All leases end early: the holders settle what nobody else has taken, and nothing is counted."""
    source = await open_source()
    await client.rpush(KEY, "a", "b")
    first, _ = await take(source)
    await end_leases(client)
    assert await take(source) == []
    await source.settle([succeeded(first)])
    entry = await suspect(source)
    assert entry.deliveries == 1
    assert await source.begin(entry, counts=True)
    assert entry.payload == b"b"


def handled_badly(registry: CollectorRegistry) -> float:
    """Return how many entries have been counted as dead letters."""
    labels = {"app": "test", "function": "handle", "outcome": "dead_lettered"}
    return registry.get_sample_value("triggerfish_entries_settled_total", labels) or 0


@pytest.mark.parametrize(
    "damage",
    [
        ("42", 1, "3:old", b"3:old"),
        ("42", 0, "3:old", b"3:old"),
        ("5ca1ab1e-1:w0:0", 1, "2:newer", b"2:newer"),
        ("5ca1ab1e-1:t0:30000", 1, "no version", b"no version"),
        ("5ca1ab1e-1:t0:30000", 0, None, None),
        ("5ca1ab1e-1:a1:30000", 1, "", b""),
        ("5ca1ab1e-1:w1:1000", 1, None, None),
        ("5ca1ab1e-1:z0:0", 1, "1:state", b"state"),
        ("5ca1ab1e-1:z0:0", -5, "1:state", b"state"),
        ("5ca1ab1e-1:w0", 1, "1:no length", b"no length"),
        ("", 1, "1:no name", b"no name"),
    ],
)
async def test_a_record_that_cannot_be_read(
    client: redis.asyncio.Redis,
    open_source: OpenSource,
    registry: CollectorRegistry,
    caplog: pytest.LogCaptureFixture,
    damage: tuple[str, int, str | None, bytes | None],
) -> None:
    """It becomes a dead letter with what is left of it, and one line in the log. The others go on."""
    member, score, record, payload = damage
    source = await open_source()
    await client.rpush(KEY, "a", "b")
    (entry,) = await take(source, 1)
    await client.zadd(inflight_key(KEY), {member: score})
    if record is not None:
        await client.hset(elements_key(KEY), member.partition(":")[0], record)

    async def set_aside() -> bool:
        await source.settle_and_take([], 1, 100)
        if source.suspects.is_set():
            assert await source.take_suspect() is None
        return len(await in_flight(client)) == 2

    await eventually(set_aside)
    assert await records(client) == [b"1:a", b"1:b"]
    assert await source.settle([succeeded(entry)]) == []
    (letter,) = await dead_letters(client)
    assert letter.get(b"payload") == payload
    assert (letter[b"trigger"], letter[b"function"]) == (b"q", b"handle")
    assert b"cannot be read" in letter[b"error"]
    (line,) = [line for line in caplog.records if line.levelno == logging.ERROR]
    assert repr(member) in line.getMessage()
    assert handled_badly(registry) == 1


async def test_a_record_that_is_damaged_before_its_call(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """A suspect whose record cannot be read when its call begins is not called, and becomes a dead letter."""
    source = await open_source()
    await client.rpush(KEY, "a")
    await take(source)
    await end_leases(client)
    entry = await suspect(source)
    await client.hset(elements_key(KEY), entry.receipt.split(b":")[0], "2:a")
    assert not await source.begin(entry, counts=True)
    (letter,) = await dead_letters(client)
    assert letter[b"payload"] == b"2:a"
    assert await in_flight(client) == {}


async def test_many_records_that_cannot_be_read(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """They do not keep new elements from being taken, and all of them become dead letters."""
    source = await open_source()
    await client.zadd(inflight_key(KEY), {f"bad {number}": 1 for number in range(35)})
    await client.rpush(KEY, "a")
    assert payloads(await take(source, 10)) == [b"a"]

    async def all_dead() -> bool:
        await take(source, 10)
        return len(await dead_letters(client)) == 35

    await eventually(all_dead)


async def test_an_unreadable_record_without_dead_letters(
    client: redis.asyncio.Redis, open_source: OpenSource, caplog: pytest.LogCaptureFixture
) -> None:
    """If it cannot become a dead letter now, it is kept, the others go on, and it is not tried at every poll."""
    source = await open_source()
    await client.set(dead_letters_key(KEY), "x")
    await client.zadd(inflight_key(KEY), {"bad": 1})
    for payload in (b"a", b"b"):
        await client.rpush(KEY, payload)
        assert payloads(await take(source)) == [payload]
    assert len([line for line in caplog.records if line.levelno == logging.ERROR]) == 1
    await client.delete(dead_letters_key(KEY))
    await end_leases(client)
    await take(source)
    assert len(await dead_letters(client)) == 1


async def test_tokens_differ(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """No two sources give the same ID, even in one process."""
    await client.rpush(KEY, *range(20))
    taken = [entry.receipt for _ in range(10) for entry in await take(await open_source(), 2)]
    assert len({receipt.split(b"-")[0] for receipt in taken}) == 10
