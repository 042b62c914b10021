"""A scaler whose Redis is a cluster that loses a node: the keys of the other nodes are not affected."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from functools import partial

import grpc
import pytest
from grpc import StatusCode
from redis.crc import key_slot

from tests.servers.catalogue import RELEASES
from tests.servers.cluster import Cluster
from tests.support.running_scaler import RunningScaler, running_scaler
from tests.support.waiting import eventually

#: A key of the first primary, which has slot 0, and one of the last.
FIRST, LAST = "k2", "k1"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster with one element in each of the two keys."""
    assert key_slot(FIRST.encode()) < 16_384 / 3
    assert key_slot(LAST.encode()) > 2 * 16_384 / 3
    with Cluster(RELEASES["valkey-9.1"], "--cluster-require-full-coverage", "no") as cluster:
        with contextlib.closing(cluster.client()) as client:
            for key in (FIRST, LAST):
                client.rpush(key, "x")
        yield cluster


def list_metadata(key: str) -> dict[str, str]:
    """Metadata of a list."""
    return {"type": "redisListTrigger", "keys": key, "connection": "cluster"}


async def _has_value(scaler: RunningScaler, key: str) -> bool:
    try:
        return await scaler.keda.target(list_metadata(key)) == 1
    except grpc.aio.AioRpcError:
        return False


async def test_failover(cluster: Cluster) -> None:
    """After a failover of any primary, including the one with slot 0, all keys have values again."""
    async with running_scaler(connections={"cluster": cluster.address}) as scaler:
        for key in (FIRST, LAST):
            assert await _has_value(scaler, key)
        for lost in (FIRST, LAST):
            await asyncio.to_thread(cluster.kill_primary_of, lost)
            for key in (FIRST, LAST):
                await eventually(partial(_has_value, scaler, key), seconds=10)


async def test_a_node_that_hangs(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a node hangs, its keys are UNAVAILABLE, and concurrent requests for keys of other nodes get values."""
    monkeypatch.setattr("scaler.measuring.sampler.FRESH_SECONDS", 0)
    hanging = cluster.node_of(FIRST)
    replicas = [node for node in cluster.nodes if node not in cluster.primaries()]
    async with running_scaler(connections={"cluster": cluster.address}) as scaler:
        for key in (FIRST, LAST):
            assert await _has_value(scaler, key)
        stopped = [hanging, *replicas]  # without replicas there is no failover
        for node in stopped:
            node.process.send_signal(signal.SIGSTOP)
        try:
            failures = 0
            while failures < 3:
                first, last = await asyncio.gather(
                    scaler.keda.target(list_metadata(FIRST)),
                    scaler.keda.target(list_metadata(LAST)),
                    return_exceptions=True,
                )
                assert last == 1
                if isinstance(first, grpc.aio.AioRpcError):
                    assert first.code() == StatusCode.UNAVAILABLE
                    failures += 1
        finally:
            for node in stopped:
                node.process.send_signal(signal.SIGCONT)
        await eventually(lambda: _has_value(scaler, FIRST), seconds=10)
