"""The answer to a taking is lost: the instance adopts the elements, for which nobody else waits."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from listeners.engine.source import LeasedSource
from listeners.errors import SourceError, SourceUnavailableError
from listeners.functions.entries import Entry
from listeners.keys import elements_key, inflight_key
from listeners.lists.source import ListSource
from tests.listeners.lists.conftest import OpenSource
from tests.listeners.lists.sources import (
    KEY,
    MIB,
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
from tests.support.network.cutting import CuttingLink, cutting_link
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases(*REPRESENTATIVE, "redis-6.0", "redis-7.2", "redis-8.2")


@pytest.fixture
async def link(server: Server) -> AsyncIterator[CuttingLink]:
    """A link to the server."""
    async with cutting_link(server.port) as cutting:
        yield cutting


@pytest.fixture
async def source(link: CuttingLink, client: redis.asyncio.Redis, open_source: OpenSource) -> ListSource:
    """A source behind the link that has taken an element, so that its connection is open and its script is known."""
    opened = await open_source(address=link.address)
    await client.rpush(KEY, "first")
    await opened.settle([succeeded(entry) for entry in await take(opened)])
    return opened


async def lose(link: CuttingLink, source: ListSource, count: int = 10, *, passing: int = 0) -> None:
    """Take elements without learning of them. `passing`: how many bytes of the answer arrive."""
    await link.cut_after(passing, source._client)
    with pytest.raises(SourceUnavailableError):
        await source.take(count, MIB)


async def first_calls(source: LeasedSource, number: int) -> list[bytes]:
    """Take this many elements in the usual way, each for its first call, and settle them. Return the payloads."""
    found: list[Entry] = []

    async def taken() -> bool:
        entries = await source.take(10, MIB)
        assert [(entry.deliveries, entry.suspect) for entry in entries] == [(1, False)] * len(entries)
        assert all(map(source.may_start, entries))
        found.extend(entries)
        return len(found) >= number

    await eventually(taken)
    await source.settle([succeeded(entry) for entry in found])
    return payloads(found)


@pytest.mark.parametrize("passing", [0, 1, 30, 100])
async def test_a_lost_answer(client: redis.asyncio.Redis, link: CuttingLink, source: ListSource, passing: int) -> None:
    """The next taking adopts what the lost one took, before it takes anything else."""
    await client.rpush(KEY, "a", "b", "c", "d")
    await lose(link, source, 3, passing=passing)
    assert await records(client) == [b"1:a", b"1:b", b"1:c"]
    before = await in_flight(client)
    entries = await take(source)
    assert payloads(entries) == [b"a", b"b", b"c"]
    assert [(entry.deliveries, entry.suspect) for entry in entries] == [(1, False)] * 3
    assert all(map(source.may_start, entries))
    after = await in_flight(client)
    assert after.keys() == before.keys() == {entry.receipt for entry in entries}
    assert min(after.values()) > max(before.values())
    assert await first_calls(source, 1) == [b"d"]
    await source.settle([succeeded(entry) for entry in entries])
    assert await client.keys("*") == []


async def test_an_exchange_whose_answer_is_lost(
    client: redis.asyncio.Redis, link: CuttingLink, source: ListSource
) -> None:
    """What succeeded is settled again, in the step that adopts what was taken."""
    await client.rpush(KEY, "a", "b")
    (entry,) = await take(source, 1)
    await link.cut_after(0, source._client)
    with pytest.raises(SourceUnavailableError):
        await source.settle_and_take([entry], 10, MIB)
    await client.rpush(KEY, "c")
    (adopted,) = await source.settle_and_take([entry], 10, MIB)
    assert (adopted.payload, adopted.deliveries) == (b"b", 1)
    (other,) = await source.settle_and_take([adopted], 10, MIB)
    assert other.payload == b"c"
    assert set(await in_flight(client)) == {other.receipt}


async def test_an_exchange_settles_before_it_adopts(
    client: redis.asyncio.Redis, link: CuttingLink, source: ListSource
) -> None:
    """The first exchange did not reach Redis, and nothing was taken by it: what succeeded is settled all the same."""
    await client.rpush(KEY, "a", "b")
    (entry,) = await take(source, 1)
    link.swallows = True
    with pytest.raises(SourceUnavailableError):
        await source.settle_and_take([entry], 10, MIB)
    link.swallows = False
    (other,) = await source.settle_and_take([entry], 10, MIB)
    assert (other.payload, set(await in_flight(client))) == (b"b", {other.receipt})


async def test_calls_that_began_before(client: redis.asyncio.Redis, link: CuttingLink, source: ListSource) -> None:
    """A retry whose taking was not answered keeps its count: its call has not begun."""
    await client.rpush(KEY, "a", "b")
    first, second = await take(source)
    await source.settle([retried(first), retried(second)])
    (second,) = [entry for entry in await take(source, 2) if entry.payload == b"b"]
    await source.settle([retried(second)])
    await client.rpush(KEY, "c")
    await lose(link, source)
    assert [(entry.payload, entry.deliveries) for entry in await take(source)] == [(b"b", 3), (b"c", 1)]


async def test_no_more_than_fits(client: redis.asyncio.Redis, link: CuttingLink, source: ListSource) -> None:
    """What is adopted is bounded as what is taken: in number and bytes, except for one large element."""
    await client.rpush(KEY, "a" * 100, "b" * 100, "c" * 500, "d", "e")
    await lose(link, source)
    sizes = [[entry.size for entry in await source.take(2, bytes_)] for bytes_ in (150, 1_000, 1_000)]
    assert [[size // 100 for size in step] for step in sizes] == [[1], [1, 5], [0, 0]]
    assert await take(source) == []


@pytest.mark.parametrize("damaged", [False, True])
async def test_many_elements(
    client: redis.asyncio.Redis, link: CuttingLink, source: ListSource, *, damaged: bool
) -> None:
    """They are adopted in pages, and records whose members are gone are passed by in pages."""
    await client.rpush(KEY, *range(1_200))
    await lose(link, source, 1_200)
    if damaged:
        await client.delete(inflight_key(KEY))
        await client.rpush(KEY, "new")
        assert await first_calls(source, 1) == [b"new"]
        return
    entries: list[Entry] = []
    for size in (500, 500, 200):
        entries += await source.take(1_000, MIB)
        assert len(entries) % 500 == size % 500
    assert payloads(entries) == [b"%d" % number for number in range(1_200)]


async def test_several_lost_answers(client: redis.asyncio.Redis, link: CuttingLink, source: ListSource) -> None:
    """All of them are adopted, one after the other, and also if the answer to the adoption is lost."""
    await client.rpush(KEY, *"abcdef")
    await lose(link, source, 2)
    link.swallows = True  # the question does not arrive
    with pytest.raises(SourceUnavailableError):
        await take(source)
    link.swallows = False
    await lose(link, source, 2)  # that of the adoption
    await link.cut_after(0, source._client)
    with pytest.raises(SourceUnavailableError):
        await take(source)
    assert payloads(await take(source)) == [b"a", b"b"]
    await lose(link, source, 2)
    assert payloads(await take(source)) == [b"c", b"d"]
    assert payloads(await take(source)) == [b"e", b"f"]


async def test_a_taking_that_arrives_late(
    server: Server, client: redis.asyncio.Redis, link: CuttingLink, source: ListSource
) -> None:
    """The server executes the command when its connection is long lost. The question is repeated."""
    await client.rpush(KEY, "a")
    link.sent, link.swallows = b"", True
    with pytest.raises(SourceUnavailableError):
        await take(source)
    link.swallows = False
    late = link.sent
    assert await first_calls(source, 1) == [b"a"]  # the first answer is that there is nothing
    await client.rpush(KEY, "b", "c")
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(late)
    assert await reader.read(1)
    writer.close()
    assert await client.llen(KEY) == 0
    assert await first_calls(source, 2) == [b"b", b"c"]


async def test_two_takings_at_once(client: redis.asyncio.Redis, link: CuttingLink, source: ListSource) -> None:
    """An element is adopted once, although an exchange runs beside the taking."""
    await client.rpush(KEY, *"abcd")
    await lose(link, source, 2)
    groups = await asyncio.gather(
        take(source), source.settle_and_take([], 10, MIB), source.settle_and_take([], 10, MIB)
    )
    assert sorted(payloads([entry for group in groups for entry in group])) == [b"a", b"b", b"c", b"d"]


async def test_elements_of_other_instances(
    client: redis.asyncio.Redis, link: CuttingLink, source: ListSource, open_source: OpenSource
) -> None:
    """Elements that others have taken, also those of this instance whose lease ended, are left alone."""
    other = await open_source()
    await client.rpush(KEY, "a", "b")
    await take(other, 1)
    await lose(link, source)
    await end_leases(client)
    held = [await suspect(other), await suspect(other)]
    before = await in_flight(client)
    assert await source.settle_and_take([], 10, MIB) == []
    assert await in_flight(client) == before
    assert before.keys() == {entry.receipt for entry in held}


async def test_redis_loses_what_was_taken(client: redis.asyncio.Redis, link: CuttingLink, source: ListSource) -> None:
    """After FLUSHALL there is nothing to adopt, and new elements are taken."""
    await client.rpush(KEY, "a")
    await lose(link, source)
    await client.flushall()
    await client.rpush(KEY, "b")
    assert await first_calls(source, 1) == [b"b"]


async def test_a_clock_that_steps(client: redis.asyncio.Redis, link: CuttingLink, source: ListSource) -> None:
    """An element whose lease has ended by the clock is adopted all the same: nobody has taken or called it."""
    await client.rpush(KEY, "a", "b")
    await lose(link, source)
    (first, second) = await in_flight(client)
    await client.zadd(inflight_key(KEY), {first: 0, second: 1})
    entries = await source.settle_and_take([], 10, MIB)
    assert [(entry.deliveries, entry.suspect) for entry in entries] == [(1, False)] * 2
    assert await source.take_suspect() is None


async def test_records_that_cannot_be_read(client: redis.asyncio.Redis, link: CuttingLink, source: ListSource) -> None:
    """A damaged record becomes a dead letter, a member of garbage is left alone, and the others are adopted."""
    await client.rpush(KEY, "a", "b", "c")
    await lose(link, source)
    members = sorted(await in_flight(client))
    token = members[0].partition(b"-")[0]
    await client.hset(elements_key(KEY), members[1].partition(b":")[0], "9:damaged")
    await client.zadd(inflight_key(KEY), {token + b"-1:nonsense": 2**52, token + b"-x:t0:30000": 2**52})
    assert payloads(await take(source)) == [b"a", b"c"]
    assert [letter[b"payload"] for letter in await dead_letters(client)] == [b"9:damaged"]


async def test_a_key_of_the_wrong_type(client: redis.asyncio.Redis, link: CuttingLink, source: ListSource) -> None:
    """It is reported, and what comes after it is taken."""
    await client.rpush(KEY, "a")
    await lose(link, source)
    await client.delete(inflight_key(KEY), elements_key(KEY))
    await client.set(elements_key(KEY), "no hash")
    with pytest.raises(SourceError, match="WRONGTYPE"):
        await take(source)
    await client.delete(elements_key(KEY))
    await client.rpush(KEY, "b")
    assert await first_calls(source, 1) == [b"b"]
