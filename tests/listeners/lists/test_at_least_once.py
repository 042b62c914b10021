"""Elements taken at least once: what is recorded, what counts as a call, and who gets an element next."""

import functools
import re

import pytest
import redis.asyncio

from listeners.engine.settlement import Outcome, Settlement
from listeners.engine.source import LeasedSource
from listeners.keys import elements_key, inflight_key
from listeners.redis.client import Client
from tests.listeners.lists.conftest import OpenSource
from tests.listeners.lists.sources import (
    KEY,
    end_leases,
    in_flight,
    payloads,
    records,
    retried,
    succeeded,
    take,
)
from tests.support.waiting import eventually


async def test_a_taken_element_is_recorded(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """An element that was taken has a lease and no call, and its payload is beside the list until it is settled."""
    source = await open_source()
    assert isinstance(source, LeasedSource)
    await client.rpush(KEY, "a")
    (entry,) = await take(source)
    assert (entry.payload, entry.deliveries, entry.suspect) == (b"a", 1, False)
    ((member, lease_ends),) = (await in_flight(client)).items()
    assert entry.receipt == member
    assert re.fullmatch(rb"[0-9a-f]{12,}-\d+:t0:30000", member)
    seconds, microseconds = await client.time()
    assert 20_000 < lease_ends - (seconds * 1000 + microseconds / 1000) <= 30_000
    assert await client.hgetall(elements_key(KEY)) == {member.split(b":")[0]: b"1:a"}
    assert await client.llen(KEY) == 0
    assert await source.settle([succeeded(entry)]) == []
    assert await client.keys("*") == []


@pytest.mark.parametrize("from_beginning", [True, False])
async def test_many_elements_keep_their_order(
    client: redis.asyncio.Redis, open_source: OpenSource, from_beginning: bool
) -> None:
    """A batch of thousands is taken and settled in the order of the list, in pages that every server accepts."""
    source = await open_source(list_pop_from_beginning=from_beginning)
    pushed = [b"%d" % number for number in range(5_000)]
    await client.rpush(KEY, *pushed)
    expected = pushed if from_beginning else pushed[::-1]
    first = await take(source, 4_000)
    assert payloads(first) == expected[:4_000]
    rest = await source.settle_and_take(first, 4_000, 2**20)
    assert payloads(rest) == expected[4_000:]
    assert len(await in_flight(client)) == 1_000
    await source.settle([retried(entry) for entry in rest])
    again = await take(source, 4_000)
    assert sorted(payloads(again)) == sorted(expected[4_000:])
    assert await source.settle([succeeded(entry) for entry in again]) == []
    assert await client.keys("*") == []


@pytest.mark.parametrize("from_beginning", [True, False])
async def test_bytes_bound_what_is_taken(
    client: redis.asyncio.Redis, open_source: OpenSource, from_beginning: bool
) -> None:
    """Elements are taken up to the bytes asked for, and at least one; this holds for retries too."""
    source = await open_source(list_pop_from_beginning=from_beginning)
    await client.rpush(KEY, *(["x" * 100] * 9))
    entries = await take(source, 9, 350)
    assert len(entries) == 3
    assert len(await take(source, 9, 10)) == 1
    assert await client.llen(KEY) == 5
    await source.settle([retried(entry) for entry in entries])
    again = await take(source, 9, 250)
    assert [entry.deliveries for entry in again] == [2, 2]
    assert len(await take(source, 9, 150)) == 1
    # A small element first says nothing about the size of the others.
    await client.delete(KEY)
    await client.rpush(KEY, *(["s", "y" * 100] if from_beginning else ["y" * 100, "s"]), "s")
    assert payloads(await take(source, 3, 50))[:1] == [b"s"]
    assert b"y" * 100 in await client.lrange(KEY, 0, -1)


async def test_bytes_bound_what_is_taken_from_several_keys(
    client: redis.asyncio.Redis, open_source: OpenSource
) -> None:
    """Once the bytes are used up, no further key is read."""
    source = await open_source(keys="a b c")
    for key in "abc":
        await client.rpush(key, "x" * 100)
    assert len(await take(source, 10, 100)) == 1
    assert len(await take(source, 10, 1_000)) == 2


async def test_a_failed_call_counts(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """A retried element comes back to anyone, after its delay, and with the call counted."""
    source, other = await open_source(), await open_source()
    await client.rpush(KEY, "a")
    (entry,) = await take(source)
    await source.settle([retried(entry, 60_000)])
    ((member, due),) = (await in_flight(client)).items()
    assert re.fullmatch(rb"[0-9a-f]+-\d+:w1:60000", member)
    assert await take(other) == []
    await end_leases(client)
    for call in (2, 3):
        (entry,) = await take(other)
        assert (entry.payload, entry.deliveries, entry.suspect) == (b"a", call, False)
        await other.settle([retried(entry)])
    assert due > 1e12  # a time in milliseconds


async def test_an_element_that_waits_is_taken_once_it_is_due(
    client: redis.asyncio.Redis, open_source: OpenSource
) -> None:
    """An element that waits for its retry is not taken before its delay has passed."""
    source = await open_source()
    await client.rpush(KEY, "a")
    (entry,) = await take(source)
    await source.settle([retried(entry, 50)])
    ((_, due),) = (await in_flight(client)).items()
    (again,) = await eventually(lambda: take(source))
    seconds, microseconds = await client.time()
    assert seconds * 1000 + microseconds / 1000 >= due
    assert again.deliveries == 2


async def test_a_release_does_not_count(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """A released element is available to others at once, before new ones, with its calls unchanged."""
    source, other = await open_source(), await open_source()
    await client.rpush(KEY, "a", "b")
    (entry,) = await take(source, 1)
    await source.release([entry])
    (entry,) = await take(other, 1)
    assert (entry.payload, entry.deliveries) == (b"a", 1)
    await other.settle([retried(entry)])
    (entry,) = await take(source, 1)
    assert (entry.payload, entry.deliveries) == (b"a", 2)
    await source.release([entry])
    (entry,) = await take(other, 1)
    assert (entry.payload, entry.deliveries) == (b"a", 2)


async def test_a_lapsed_settlement_changes_nothing(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """An element that was not called, as its lease had ended, is left to a later delivery."""
    source = await open_source()
    await client.rpush(KEY, "a")
    (entry,) = await take(source)
    before = await in_flight(client)
    assert await source.settle([Settlement(entry, Outcome.LAPSED)]) == []
    assert await in_flight(client) == before


async def test_a_repeated_settlement_has_no_effect(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """A settlement whose reply was lost is passed again; it changes nothing, even if the element was taken since."""
    source, other = await open_source(), await open_source()
    await client.rpush(KEY, "a")
    (entry,) = await take(source)
    for _ in range(2):
        await source.settle([retried(entry)])
        assert [member.split(b":")[1] for member in await in_flight(client)] == [b"w1"]
    (again,) = await take(other)
    before = await in_flight(client)
    await source.settle([retried(entry)])
    assert await in_flight(client) == before
    assert again.deliveries == 2
    for _ in range(2):
        await other.settle([succeeded(again)])
    assert await client.keys("*") == []


async def test_an_old_holder_touches_nothing(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """Nothing that a holder says after its lease touches an element that another has taken since."""
    source, other = await open_source(), await open_source()
    renewal = source.renewal()
    await client.rpush(KEY, "a", "b", "c")
    old = await take(source)
    await source.settle([retried(entry) for entry in old])
    new = await take(other)
    before, recorded = await in_flight(client), await records(client)
    assert len(before) == len(recorded) == 3
    await source.settle([succeeded(old[0]), retried(old[1])])
    await source.release(old)
    await renewal.renew(old)
    assert not any(source.may_start(entry) for entry in old)
    assert not await source.begin(old[0], counts=True)
    assert await source.settle_and_take(old, 10, 100) == []
    assert (await in_flight(client), await records(client)) == (before, recorded)
    assert sorted(payloads(new)) == [b"a", b"b", b"c"]


async def test_payloads_of_all_kinds(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """Empty payloads, bytes that are not UTF-8, and those that look like records arrive unchanged."""
    source = await open_source()
    pushed = [b"", b"\xff\x00\r\n", b"1:a:b", b":", b"0"]
    await client.rpush(KEY, *pushed)
    entries = await take(source)
    assert payloads(entries) == pushed
    await source.settle([retried(entry) for entry in entries])
    assert sorted(payloads(await take(source))) == sorted(pushed)


@pytest.mark.releases("valkey-9.1")
async def test_a_payload_of_100_mb(
    client: redis.asyncio.Redis, open_source: OpenSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A payload far above the bytes asked for is taken alone, retried, and taken again."""
    patient = functools.partial(Client, timeout_seconds=60.0)  # a busy machine needs seconds to copy it
    monkeypatch.setattr("listeners.host.clients.Client", patient)
    source = await open_source()
    payload = b"p" * 100_000_000
    await client.rpush(KEY, payload, "small")
    for call in (1, 2):
        (entry,) = await take(source, 10, 1_000_000)
        assert entry.deliveries == call
        assert entry.payload == payload
        await source.settle([retried(entry)])
    await end_leases(client)
    (entry,) = await take(source, 1)
    await source.settle([succeeded(entry)])
    assert payloads(await take(source)) == [b"small"]


@pytest.mark.releases("valkey-9.1")
async def test_commands_per_element(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """To take and settle full batches takes two commands per batch, and eleven in its scripts, at most."""
    source = await open_source()
    await client.rpush(KEY, *range(1_000))
    await source.settle([succeeded(entry) for entry in await take(source)])  # loads the scripts
    await client.config_resetstat()
    entries = await take(source)
    for _ in range(90):
        entries = await source.settle_and_take(entries, 10, 2**20)
        assert len(entries) == 10
    await source.settle([succeeded(entry) for entry in entries])
    ignored = {"cmdstat_config|resetstat"}
    calls = {name: stats["calls"] for name, stats in (await client.info("commandstats")).items() if name not in ignored}
    assert calls.pop("cmdstat_evalsha") == 92
    assert sum(calls.values()) <= 91 * 11 + 4


async def test_keys_of_the_wrong_type_block_no_other(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """A list whose own keys, or records, have the wrong type is left alone, and the other list is read."""
    for key, wrong in (("bad1", inflight_key("bad1")), ("bad2", elements_key("bad2")), ("bad3", "bad3")):
        await client.set(wrong, "x")
        if wrong != key:
            await client.rpush(key, "kept")
        source = await open_source(keys=f"{key} good")
        await client.rpush("good", "a", "b")
        taken = [*await take(source, 1), *await take(source, 1)]
        assert payloads(taken) == [b"a", b"b"]
        await source.settle([succeeded(entry) for entry in taken])
        assert await client.type(key) == (b"string" if wrong == key else b"list")
        assert wrong == key or await client.lrange(key, 0, -1) == [b"kept"]


async def test_waiting_for_the_first(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """An idle source returns nothing after its polling interval, and takes what is pushed later."""
    source = await open_source()
    assert await take(source) == []
    await client.rpush(KEY, "a")

    async def taken() -> list[bytes]:
        return payloads(await take(source))

    assert await eventually(taken) == [b"a"]
