"""Elements that come back without an outcome: they are called alone, and only a call that began counts."""

import re

import pytest
import redis.asyncio

from listeners.functions.entries import Entry
from listeners.keys import elements_key, inflight_key
from listeners.lists.source import ListSource
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


async def lapsed_suspect(client: redis.asyncio.Redis, source: ListSource, payload: str = "a") -> Entry:
    """Take an element, let its lease end, and take it as a suspect."""
    await client.rpush(KEY, payload)
    assert len(await take(source)) == 1
    await end_leases(client)
    return await suspect(source)


async def test_an_element_whose_lease_ended_is_a_suspect(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """Its lease ends without an outcome: it is not taken again, but handed out alone, with no call counted."""
    lost, source = await open_source(lease_seconds=0.05), await open_source()
    await client.rpush(KEY, "a", "b", "c")
    assert len(await take(lost)) == 3
    await client.rpush(KEY, "new")
    assert payloads(await eventually(lambda: take(source))) == [b"new"]
    suspects = [await suspect(source) for _ in range(3)]
    assert [(entry.deliveries, entry.died_alone) for entry in suspects] == [(1, False)] * 3
    assert source.suspects.is_set()
    assert await source.take_suspect() is None
    assert not source.suspects.is_set()
    for entry in suspects:
        assert source.may_start(entry)
        assert await source.begin(entry, counts=True)
        assert source.may_start(entry)
    assert sorted(payloads(suspects)) == [b"a", b"b", b"c"]
    assert await source.settle([succeeded(entry) for entry in suspects]) == []
    assert await records(client) == [b"1:new"]


async def test_a_blocked_holder_charges_nobody(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """Ten elements whose holder hangs past their lease, again and again, come back uncounted each time."""
    await client.rpush(KEY, *range(10))
    source = await open_source()
    assert len(await take(source)) == 10
    for _ in range(4):
        await end_leases(client)
        hung = await open_source()
        suspects = [await suspect(hung) for _ in range(10)]
        assert {(entry.deliveries, entry.died_alone) for entry in suspects} == {(1, False)}
        for entry in suspects:  # the call is refused, as others run: still nothing has begun
            assert await hung.begin(entry, counts=False)
    await end_leases(client)
    assert (await suspect(source)).deliveries == 1


async def test_a_late_holder_settles_while_nobody_has_it(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """A lease that ended is still settled, or renewed, by its holder as long as no other has taken the element."""
    source = await open_source()
    await client.rpush(KEY, "a", "b")
    first, second = await take(source)
    await end_leases(client)
    assert await take(source) == []
    assert source.suspects.is_set()
    assert set((await in_flight(client)).values()) == {0}
    renewal = source.renewal()
    await renewal.renew([first, second])
    assert source.may_start(first)
    assert await source.take_suspect() is None
    await end_leases(client)
    assert await take(source) == []
    await source.settle([succeeded(first), retried(second)])
    (again,) = await take(source)
    assert (again.payload, again.deliveries, again.suspect) == (b"b", 2, False)


async def test_a_call_that_began_alone_counts(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """After begin(counts=True) the death of the process counts; the number of calls is in Redis."""
    source = await open_source()
    entry = await lapsed_suspect(client, source)
    for call in (1, 2, 3):
        assert (entry.deliveries, entry.died_alone) == (call, call > 1)
        assert await source.begin(entry, counts=True)
        ((member, score),) = (await in_flight(client)).items()
        assert re.fullmatch(rb"[0-9a-f]+-\d+a:a%d:30000" % call, member)
        assert score > 1e12
        assert (entry.receipt, entry.payload, entry.deliveries) == (member, b"a", call)
        await end_leases(client)
        entry = await suspect(await open_source())
    assert (entry.deliveries, entry.died_alone) == (4, True)
    assert await source.settle([dead(entry)]) == []
    assert await in_flight(client) == {}
    (letter,) = await dead_letters(client)
    assert (letter[b"payload"], letter[b"deliveries"]) == (b"a", b"4")


async def test_a_call_that_began_uncounted(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """After begin(counts=False) the death of the process does not count, nor do earlier deaths make it a culprit."""
    source = await open_source()
    entry = await lapsed_suspect(client, source)
    assert await source.begin(entry, counts=True)
    await end_leases(client)
    entry = await suspect(source)
    assert entry.died_alone
    assert await source.begin(entry, counts=False)
    assert entry.payload == b"a"
    await end_leases(client)
    entry = await suspect(source)
    assert (entry.deliveries, entry.died_alone) == (2, False)


async def test_a_suspect_that_lapses_before_its_call(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """A suspect that was handed out and did not begin is a suspect again, with nothing counted or forgotten."""
    source = await open_source()
    entry = await lapsed_suspect(client, source)
    await source.begin(entry, counts=True)
    for _ in range(3):
        await end_leases(client)
        entry = await suspect(source)
        assert (entry.deliveries, entry.died_alone) == (2, True)


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("died_before", [True, False])
async def test_a_failover_to_data_from_before_the_call(
    client: redis.asyncio.Redis, open_source: OpenSource, counts: bool, died_before: bool
) -> None:
    """The end of a suspect's call leaves its record alone if Redis has lost the beginning: it is called once more."""
    source = await open_source()
    entry = await lapsed_suspect(client, source)
    if died_before:
        assert await source.begin(entry, counts=True)
        await end_leases(client)
        entry = await suspect(source)
    keys = [inflight_key(KEY), elements_key(KEY)]
    before = [await client.dump(key) for key in keys]
    assert await source.begin(entry, counts=counts)
    for key, content in zip(keys, before, strict=True):
        assert content is not None
        await client.restore(key, 0, content, replace=True)
    assert await source.settle([succeeded(entry)]) == []
    await end_leases(client)
    again = await suspect(await open_source())
    assert await source.begin(again, counts=True)
    assert again.payload == b"a"
    assert await source.settle([succeeded(again)]) == []
    assert await in_flight(client) == {}
    assert await records(client) == []
    assert await dead_letters(client) == []


@pytest.mark.parametrize("begins", [True, False])
async def test_outcomes_of_a_suspect(client: redis.asyncio.Redis, open_source: OpenSource, begins: bool) -> None:
    """A retry counts its call once, whether or not begin() had counted it. The element is an ordinary one then."""
    source = await open_source()
    entry = await lapsed_suspect(client, source)
    assert await source.begin(entry, counts=begins)
    await source.settle([retried(entry)])
    (again,) = await take(source)
    assert (again.payload, again.deliveries, again.suspect) == (b"a", 2, False)


@pytest.mark.parametrize("begins", [True, False])
async def test_release_of_a_suspect_whose_call_began(
    client: redis.asyncio.Redis, open_source: OpenSource, begins: bool
) -> None:
    """A release takes back the call that begin() has counted. The call has run for a while, so it is no suspect."""
    source = await open_source()
    entry = await lapsed_suspect(client, source)
    assert await source.begin(entry, counts=begins)
    entry.started_at = 1.0
    await source.release([entry])
    (again,) = await take(source)
    assert (again.payload, again.deliveries, again.suspect) == (b"a", 1, False)


@pytest.mark.parametrize("begins", [True, False])
async def test_release_between_begin_and_the_call(
    client: redis.asyncio.Redis, open_source: OpenSource, begins: bool
) -> None:
    """A suspect that is released with its content, but without a call, remains a suspect with nothing counted."""
    source = await open_source()
    entry = await lapsed_suspect(client, source)
    for deliveries, died_alone in ((1, False), (2, True)):
        assert await source.begin(entry, counts=begins)
        await source.release([entry])
        assert await take(source) == []
        entry = await suspect(source)
        assert (entry.deliveries, entry.died_alone) == (deliveries, died_alone)
        assert await source.begin(entry, counts=True)
        await end_leases(client)
        entry = await suspect(source)


async def test_release_of_a_suspect_before_its_call(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """A suspect that is released without a call is a suspect for others at once, with what is known of it."""
    source, other = await open_source(), await open_source()
    entry = await lapsed_suspect(client, source)
    await source.begin(entry, counts=True)
    await end_leases(client)
    entry = await suspect(source)
    await source.release([entry])
    again = await suspect(other)
    assert (again.deliveries, again.died_alone) == (2, True)


async def test_begin_is_repeated(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """If the reply of begin() is lost, it can be repeated, and the call is counted once."""
    source = await open_source()
    entry = await lapsed_suspect(client, source)
    receipt = entry.receipt
    assert await source.begin(entry, counts=True)
    entry.receipt, entry.payload = receipt, None  # as if no reply had come
    assert await source.begin(entry, counts=True)
    assert payloads([entry]) == [b"a"]
    assert [member.split(b":")[1] for member in await in_flight(client)] == [b"a1"]


async def test_release_after_a_lost_reply_to_begin(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """A suspect that may or may not have begun, and is released without a call, has no call counted."""
    source = await open_source()
    entry = await lapsed_suspect(client, source)
    receipt = entry.receipt
    assert await source.begin(entry, counts=True)
    entry.receipt, entry.payload = receipt, None
    await source.release([entry])
    again = await suspect(source)
    assert (again.deliveries, again.died_alone) == (1, False)
    assert len(await in_flight(client)) == 1


async def test_begin_after_another_has_taken_it(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """A suspect whose lease ended and that another has taken does not begin; the other's is untouched."""
    source, other = await open_source(), await open_source()
    old = await lapsed_suspect(client, source)
    await end_leases(client)
    new = await suspect(other)
    before = await in_flight(client)
    assert not await source.begin(old, counts=True)
    await source.settle([dead(old), succeeded(old), retried(old)])
    await source.release([old])
    assert await in_flight(client) == before
    assert await dead_letters(client) == []
    assert await other.begin(new, counts=True)
    assert new.payload == b"a"


async def test_a_suspect_is_dead_lettered_uncalled(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """The server copies the payload to the dead letter, so that a suspect needs no call to be dead-lettered."""
    source = await open_source()
    entry = await lapsed_suspect(client, source)
    assert entry.payload is None
    assert await source.settle([dead(entry)]) == []
    (letter,) = await dead_letters(client)
    assert (letter[b"payload"], letter[b"error"], letter[b"trigger"]) == (b"a", b"ValueError: broken", b"q")
    assert (await in_flight(client), await records(client)) == ({}, [])


async def test_a_lost_reply_makes_suspects(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """Elements that Redis handed out, but whose reply was lost, come back as suspects, even to the same instance."""
    source = await open_source(lease_seconds=0.05)
    await client.rpush(KEY, "a", "b")
    assert len(await take(source)) == 2  # forgotten here, as if the reply had not come
    found = {(await suspect(source)).receipt.split(b":")[1] for _ in range(2)}
    assert found == {b"t0"}


async def test_suspects_of_several_keys(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """Suspects of every key are handed out, and only then is it known that there is none."""
    source = await open_source(keys="a b")
    for key in "ab":
        await client.rpush(key, key)
    assert len(await take(source)) == 2
    for key in "ab":
        await end_leases(client, key)
    found = [await suspect(source) for _ in range(2)]
    assert sorted(entry.key for entry in found) == ["a", "b"]
    assert source.suspects.is_set()
    assert await source.take_suspect() is None
    assert not source.suspects.is_set()


async def test_many_leases_end_at_once(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """Thousands of leases that end together become suspects in one step, and hide no retry that is due."""
    source = await open_source()
    await client.rpush(KEY, *range(3_000))
    first = await take(source, 3_000)
    await source.settle([retried(entry, 60_000) for entry in first[-1:]])
    await end_leases(client)
    (due,) = await take(source, 10)
    assert due.deliveries == 2
    assert list((await in_flight(client)).values()).count(0) == 2_999
