"""Several streams of one trigger, some of which Redis refuses or cannot reach."""

import pytest
import redis.asyncio

from listeners.engine.settlement import Outcome
from listeners.errors import SourceError, WrongTypeError
from listeners.functions.entries import Entry
from listeners.streams.source import StreamSource
from tests.listeners.streams.sources import (
    GROUP,
    KEY,
    MAX_BYTES,
    add,
    idle_ms,
    lapse,
    opened,
    recorded,
    settle,
    settlement,
    take,
    take_suspect,
)
from tests.servers.catalogue import RELEASES
from tests.servers.cluster import PRIMARIES, Cluster
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

KEYS = ("bad", KEY)


async def spoil(client: redis.asyncio.Redis) -> None:
    """Replace a stream by a value of another type."""
    async with client.pipeline(transaction=True) as step:
        step.delete("bad")
        step.set("bad", "no stream")
        await step.execute()


async def test_a_key_that_is_no_stream_from_the_start(server: Server, client: redis.asyncio.Redis) -> None:
    """The other stream is read, settled and reclaimed; the refused one is reported, and read once it is a stream."""
    await client.set("bad", "no stream")
    async with opened(server, keys=KEYS) as source, opened(server, "b", keys=KEYS) as other:
        ids = await add(client, "1", "2")
        (first,) = await take(source)
        (second,) = await source.settle_and_take([first], 1, MAX_BYTES)
        assert [first.id, second.id] == ids
        await lapse(client, second.id)
        for _ in range(2):
            with pytest.raises(WrongTypeError, match="bad"):
                await other.maintain()
        assert (await take_suspect(other)).id == second.id
        await client.delete("bad")
        await other.maintain()
        (entry_id,) = await add(client, "3", key="bad")
        assert (await take(other))[0].id == entry_id


async def test_a_key_that_becomes_another_type(server: Server, client: redis.asyncio.Redis) -> None:
    """Retries and suspects of the other stream go on, although those of the refused one come first."""
    async with opened(server, keys=KEYS) as source, opened(server, "b", keys=KEYS) as dead:
        for key in KEYS:
            await add(client, "suspect", key=key)
            (entry,) = await take(dead)
            await lapse(client, entry.id, key=key)
        await source.maintain()
        for key in KEYS:
            await add(client, "retried", key=key)
            await settle(source, Outcome.RETRIED, *await take(source), delay_ms=1)
        await spoil(client)

        async def retried() -> bool:
            try:
                entries = await source.take(1, MAX_BYTES)
            except SourceError:
                return False
            return [entry.key for entry in entries] == [KEY]

        async def suspected() -> bool:
            try:
                suspect = await source.take_suspect()
            except SourceError:
                return False
            return suspect is not None and suspect.key == KEY

        await eventually(retried)
        await eventually(suspected)
        (entry_id,) = await add(client, "new")
        assert (await take(source))[0].id == entry_id


async def test_leases_of_the_other_stream(server: Server, client: redis.asyncio.Redis) -> None:
    """A renewal and a release cover the other stream although Redis refuses one."""
    async with opened(server, keys=KEYS) as source:
        for key in KEYS:
            await add(client, "1", key=key)
        entries = sorted(await take(source, 2), key=lambda entry: KEYS.index(entry.key))
        await spoil(client)
        await lapse(client, entries[1].id)
        renewal = source.renewal()
        with pytest.raises(WrongTypeError):
            await renewal.renew(entries)
        assert (await idle_ms(client))[0] < 3_000_000
        with pytest.raises(WrongTypeError):
            await source.release(entries)
        assert await recorded(client) == [(entries[1].id, "triggerfish-a:waiting", 1)]


async def test_a_primary_that_is_down() -> None:
    """The leases on the other primaries of a cluster are renewed, and their entries settled."""
    keys = ("one", "two", "three")
    release = RELEASES["valkey-9.1"]
    with Cluster(release, "--cluster-require-full-coverage", "no") as cluster, cluster.client() as client:
        async with opened(cluster, keys=keys) as source:
            for key in keys:
                client.xadd(key, {"payload": key})
            entries = await take(source, 3)
            down = cluster.node_of(entries[0].key)
            others = [entry for entry in entries if cluster.node_of(entry.key) is not down]
            assert others
            renewal = source.renewal()
            await renewal.renew(entries)
            for node in (cluster.nodes[cluster.nodes.index(down) + PRIMARIES], down):
                node.process.kill()
                node.process.wait()
            before = [entry.lease_ends_at for entry in others]
            with pytest.raises(SourceError):
                await renewal.renew(entries)
            assert all(entry.lease_ends_at > ends_at for entry, ends_at in zip(others, before, strict=True))
            refusals = await source.settle([settlement(entry, Outcome.SUCCEEDED) for entry in entries])
            assert {refusal.settlement.entry for refusal in refusals} == set(entries) - set(others)
            assert all(refusal.is_unreachable for refusal in refusals)
            with cluster.client() as survivors:
                assert [survivors.xpending(entry.key, GROUP)["pending"] for entry in others] == [0] * len(others)


async def test_what_is_due_on_a_primary_that_is_down() -> None:
    """Retries, suspects and released entries on it do not keep those on another primary from being taken."""
    release = RELEASES["valkey-9.1"]
    with Cluster(release, "--cluster-require-full-coverage", "no") as cluster, cluster.client() as client:
        down = "a"
        up = next(key for key in "bcdefgh" if cluster.node_of(key) is not cluster.node_of(down))
        keys = (down, up)

        async def first_on_each(other: StreamSource) -> list[Entry]:
            for key in keys:
                client.xadd(key, {"payload": key})
            return sorted(await take(other, 2), key=lambda entry: keys.index(entry.key))

        async with opened(cluster, keys=keys) as source, opened(cluster, "b", keys=keys) as other:
            for entry in await first_on_each(other):  # suspects
                client.xclaim(entry.key, GROUP, "triggerfish-b", 0, [entry.id], idle=3_600_000, justid=True)
            released = await first_on_each(other)
            await other.release(released)
            retried = await first_on_each(source)
            await source.maintain()
            await settle(source, Outcome.RETRIED, *retried, delay_ms=1)
            with cluster.primary_down(down, suspended=False):
                taken = await take(source, 2)
                assert {(entry.id, entry.deliveries) for entry in taken} == {(released[1].id, 1), (retried[1].id, 2)}
                suspect = await source.take_suspect()
                assert suspect is not None
                assert suspect.key == up
                assert await source.take_suspect() is None
                client.xadd(up, {"payload": "new"})
                assert await take(source)
                async with opened(cluster, "c", keys=keys) as starting:
                    client.xadd(up, {"payload": "new"})
                    assert await take(starting)
                with pytest.raises(SourceError):
                    await source.maintain()
