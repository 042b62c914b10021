"""Failovers and slots that move are not reported: the proof each second finds them, within seconds."""

import contextlib

import pytest
import redis

from tests.listeners.tracking.watching import Watching, watching
from tests.servers.catalogue import RELEASES
from tests.servers.cluster import Cluster
from tests.servers.sentinels import Sentinels
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

CLUSTER_RELEASES = ("redis-6.2", "redis-7.2", "valkey-9.1")


async def reports_changes(found: Watching, servers: Cluster | Sentinels, key: str) -> None:
    """Assert that the key's primary of now reports its changes."""

    async def is_reported() -> bool:
        armed = await found.relied_on(key)
        node = servers.node_of(key) if isinstance(servers, Cluster) else servers.primary
        with contextlib.closing(redis.Redis(port=node.port)) as client, contextlib.suppress(redis.RedisError):
            client.rpush(key, "x")
        with contextlib.suppress(AssertionError):
            await eventually(lambda: armed.ended, seconds=3)
        return armed.ended

    await eventually(is_reported)
    assert not found.untold


@pytest.mark.releases("redis-6.0", "redis-7.2", "valkey-9.1")
async def test_replicaof(own_server: Server, server: Server) -> None:
    """A primary that becomes a replica keeps the connection: its keys end, as it has another role."""
    async with watching(own_server.address) as found:
        armed = await found.relied_on("orders")
        with own_server.client() as client:
            client.replicaof("127.0.0.1", server.port)
        await eventually(lambda: armed.ended, seconds=60)
        assert not found.untold


def replicas_of(primary: Server, cluster: Cluster) -> list[int]:
    """Return the ports of the replicas that a primary knows."""
    with primary.client() as client:
        replicas = client.execute_command("CLUSTER", "REPLICAS", client.execute_command("CLUSTER", "MYID"))
    return [node.port for node in cluster.nodes if f":{node.port}@" in str(replicas)]


@pytest.mark.parametrize("release", CLUSTER_RELEASES)
async def test_a_takeover(release: str) -> None:
    """After FAILOVER TAKEOVER the former primary reports nothing more."""
    with Cluster(RELEASES[release]) as cluster:
        async with watching(cluster.address) as found:
            armed = await found.relied_on("orders")
            former = cluster.node_of("orders")
            [port] = await eventually(lambda: replicas_of(former, cluster))
            with contextlib.closing(redis.Redis(port=port)) as client:
                client.execute_command("CLUSTER", "FAILOVER", "TAKEOVER")
            await eventually(lambda: armed.ended, seconds=60)
            await reports_changes(found, cluster, "orders")


@pytest.mark.parametrize("release", CLUSTER_RELEASES)
async def test_a_slot_that_moves_while_its_key_is_missing(release: str) -> None:
    """A slot that begins to move ends its keys, and they can be armed where it is afterwards."""
    with Cluster(RELEASES[release]) as cluster:
        async with watching(cluster.address) as found:
            armed = await found.relied_on("orders")
            source = cluster.node_of("orders")
            target = next(node for node in cluster.primaries() if node is not source)
            with cluster.migrating_slot_of("orders", source, target):
                await eventually(lambda: armed.ended, seconds=60)
                assert await found.watch.arm([("orders",)]) == [None]
            await found.client.command("orders", "LLEN", "orders", doing="following the slot")
            await reports_changes(found, cluster, "orders")


@pytest.mark.parametrize("release", ["redis-6.2", "valkey-9.1"])
async def test_a_planned_failover(release: str) -> None:
    """During SENTINEL FAILOVER the former primary keeps its role for seconds and reports nothing."""
    with Sentinels(RELEASES[release]) as sentinels:
        async with watching(sentinels.address) as found:
            armed = await found.relied_on("orders")
            former = sentinels.primary
            with contextlib.closing(sentinels.sentinels[0].client()) as client:
                client.execute_command("SENTINEL", "FAILOVER", "main")
            sentinels.await_other_primary(former)
            await eventually(lambda: armed.ended, seconds=60)
            await reports_changes(found, sentinels, "orders")
