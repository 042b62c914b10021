"""Renewal of leases, on an event loop and a connection of its own."""

import asyncio
import threading

import pytest
import redis.asyncio

from listeners.errors import WrongTypeError
from listeners.keys import inflight_key
from listeners.lists.at_least_once import ListLeases
from listeners.lists.source import ListSource
from tests.listeners.lists.conftest import OpenSource
from tests.listeners.lists.sources import KEY, end_leases, in_flight, retried, suspect, take


async def test_leases_are_renewed(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """Held elements get a whole lease again; those that are not held any more may not start."""
    source = await open_source(keys="q r")
    renewal = source.renewal()
    await client.rpush(KEY, *range(1_500))
    await client.rpush("r", "other")
    entries = [*await take(source, 1_500), *await source.settle_and_take([], 10, 100)]
    assert len(entries) == 1_501
    settled = entries[7]
    await source.settle([retried(settled, 60_000)])
    before = [entry.lease_ends_at for entry in entries]
    await renewal.renew(entries)
    assert settled.lease_ends_at == 0.0
    assert not source.may_start(settled)
    later = [entry.lease_ends_at > ends_at for entry, ends_at in zip(entries, before, strict=True)]
    assert later.count(False) == 1
    await renewal.renew([])


async def test_renewal_while_the_sources_loop_is_blocked(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """The renewal needs nothing of the source's event loop: it runs while that loop does not."""
    source = await open_source(lease_seconds=1.0)
    await client.rpush(KEY, "a")
    entries = await take(source)
    ((member, score),) = (await in_flight(client)).items()
    renewal = source.renewal()
    assert isinstance(renewal, ListLeases)

    async def renew() -> None:
        await renewal.renew(entries)
        await renewal.client.aclose()

    thread = threading.Thread(target=lambda: asyncio.run(renew()))
    thread.start()
    thread.join()  # blocks this event loop
    assert (await in_flight(client))[member] > score


async def test_renewal_of_a_suspect(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """A suspect's lease is renewed before and after its call has begun."""
    source: ListSource = await open_source()
    renewal = source.renewal()
    await client.rpush(KEY, "a")
    await take(source)
    await end_leases(client)
    entry = await suspect(source)
    for counts in (None, False, True):
        if counts is not None:
            assert await source.begin(entry, counts=counts)
        entry.lease_ends_at = 0.0
        await renewal.renew([entry])
        assert source.may_start(entry)


async def test_a_list_whose_leases_cannot_be_renewed(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """The leases of other lists are renewed although Redis refuses those of one, and the error is raised."""
    source = await open_source(keys="q r")
    renewal = source.renewal()
    for key in ("q", "r"):
        await client.rpush(key, key)
    entries = {entry.key: entry for entry in await take(source)}
    await client.set(inflight_key("q"), "x")
    before = entries["r"].lease_ends_at
    with pytest.raises(WrongTypeError):
        await renewal.renew([entries["q"], entries["r"]])
    assert entries["r"].lease_ends_at > before
