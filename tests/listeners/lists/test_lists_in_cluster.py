"""Lists in a cluster, whose keys are on several nodes."""

import asyncio

import redis.asyncio
from prometheus_client import CollectorRegistry

from listeners.connections.spec import ConnectionSpec
from listeners.engine.metrics import FunctionMetrics, HostMetrics
from listeners.functions.entries import Entry
from listeners.functions.triggers import ListTrigger
from listeners.keys import inflight_key
from listeners.lists.source import ListSource
from tests.listeners.lists.sources import dead, retried, succeeded, suspect, take
from tests.servers.catalogue import RELEASES
from tests.servers.cluster import Cluster
from tests.support.clients import shared_client


async def test_lists_of_a_cluster(registry: CollectorRegistry) -> None:
    """Every script runs on lists of several nodes."""
    keys = ("a", "b", "c", "d", "e")
    with Cluster(RELEASES["valkey-9.1"]) as cluster:
        spec = ConnectionSpec(port=cluster.nodes[0].port)
        async with (
            shared_client(spec) as shared,
            redis.asyncio.RedisCluster("127.0.0.1", cluster.nodes[0].port, protocol=2) as client,
        ):
            source = ListSource(
                ListTrigger(keys=keys, polling_interval_ms=20),
                "handle",
                shared.commands,
                shared.leases,
                shared.watch,
                lease_seconds=30.0,
                metrics=FunctionMetrics(HostMetrics(registry), "test", "handle"),
            )
            await source.open()
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
            await source.close()
