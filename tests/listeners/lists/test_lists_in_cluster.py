"""Lists in a cluster, whose keys are on several nodes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import redis.asyncio
from prometheus_client import CollectorRegistry

from listeners.connections.spec import ConnectionSpec
from listeners.engine.metrics import FunctionMetrics, HostMetrics
from listeners.errors import SourceError
from listeners.functions.entries import Entry
from listeners.functions.triggers import ListTrigger
from listeners.keys import inflight_key
from listeners.lists.source import ListSource
from tests.listeners.lists.sources import dead, retried, succeeded, suspect, take
from tests.servers.catalogue import RELEASES
from tests.servers.cluster import Cluster
from tests.support.clients import shared_client
from tests.support.waiting import eventually


@contextlib.asynccontextmanager
async def list_source(
    cluster: Cluster, registry: CollectorRegistry, keys: Sequence[str], **options: Any
) -> AsyncIterator[ListSource]:
    """An open source of lists that is given one node of the cluster."""
    async with shared_client(ConnectionSpec(port=cluster.nodes[0].port)) as shared:
        source = ListSource(
            ListTrigger(keys=tuple(keys), polling_interval_ms=20, **options),
            "handle",
            shared.commands,
            shared.leases,
            shared.watch,
            lease_seconds=30.0,
            metrics=FunctionMetrics(HostMetrics(registry), "test", "handle"),
        )
        await source.open()
        yield source
        await source.close()


async def test_lists_of_a_cluster(registry: CollectorRegistry) -> None:
    """Every script runs on lists of several nodes."""
    keys = ("a", "b", "c", "d", "e")
    with Cluster(RELEASES["valkey-9.1"]) as cluster:
        async with (
            list_source(cluster, registry, keys) as source,
            redis.asyncio.RedisCluster("127.0.0.1", cluster.nodes[0].port, protocol=2) as client,
        ):
            renewal = source.renewal()
            for key in keys:
                await client.rpush(key, f"{key}1", f"{key}2", f"{key}3")
            entries = await take(source, 15)
            assert len(entries) == 15
            await renewal.renew(entries)
            assert await source.settle([succeeded(entry) for entry in entries[::3]]) == []
            assert await source.settle([retried(entry, 3_600_000) for entry in entries[1::3]]) == []
            for key in keys:
                await client.zadd(inflight_key(key), {entry.receipt: 1 for entry in entries[2::3] if entry.key == key})
            suspects = [await suspect(source) for _ in keys]
            for entry in suspects:
                assert await source.begin(entry, counts=True)
            suspects[0].started_at = 1.0  # its call was cancelled
            await source.release(suspects[:1])
            assert await source.settle([dead(entry) for entry in suspects[1:]]) == []
            await source.settle([succeeded(entry) for entry in await take(source)])
            for key in keys:  # the waits of an hour end in ten, as if the clocks had stepped back
                (member,) = await client.execute_command("ZRANGE", inflight_key(key), 0, -1)
                await client.zincrby(inflight_key(key), 9 * 3_600_000, member)
            maintaining = asyncio.create_task(source.maintain())
            retries: list[Entry] = []
            while len(retries) < len(keys):
                retries += await take(source, 15)
            maintaining.cancel()
            assert {entry.deliveries for entry in retries} == {2}


@pytest.mark.parametrize("delivery", ["at-least-once", "at-most-once"])
async def test_a_primary_that_is_down(registry: CollectorRegistry, delivery: str) -> None:
    """Elements on the other primaries are taken, waited for and settled, and so are those on it once it is back."""
    arguments = ("--appendonly", "yes", "--appendfsync", "always", "--cluster-require-full-coverage", "no")
    with Cluster(RELEASES["valkey-9.1"], *arguments) as cluster, cluster.client() as client:
        down = "a"
        up = next(key for key in "bcdefgh" if cluster.node_of(key) is not cluster.node_of(down))
        keys = (down, up)
        async with list_source(cluster, registry, keys, delivery=delivery) as source:

            async def one_of(key: str) -> Entry:
                client.rpush(key, "element")
                (entry,) = await take(source, 1)
                assert entry.key == key
                return entry

            async def maintained() -> bool:
                try:
                    await source.maintain()
                except SourceError:
                    return False
                return True

            if delivery == "at-least-once":
                for key in keys:  # suspects
                    client.zadd(inflight_key(key), {(await one_of(key)).receipt: 1})
            held = [await one_of(key) for key in keys]
            with cluster.primary_down(down, suspended=False):
                refusals = await source.settle([dead(entry) for entry in held])
                assert [(each.settlement.entry, each.is_unreachable) for each in refusals] == [(held[0], True)]
                if delivery == "at-least-once":
                    assert (await suspect(source)).key == up
                assert await source.take_suspect() is None
                assert await take(source) == []
                assert not await maintained()
                await one_of(up)
            await eventually(maintained)
            await eventually(lambda: one_of(down))
            assert await source.settle([refusals[0].settlement]) == []
