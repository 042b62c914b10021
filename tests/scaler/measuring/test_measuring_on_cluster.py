"""A scaler whose Redis is a cluster that loses a node: that says nothing about the keys of the others."""

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
from tests.support.running_scaler import Running, running_scaler
from tests.support.waiting import eventually

#: A key of the first primary, which has slot 0, and one of the last.
FIRST, LAST = "k2", "k1"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster with an element in both keys."""
    assert key_slot(FIRST.encode()) < 16_384 / 3
    assert key_slot(LAST.encode()) > 2 * 16_384 / 3
    with Cluster(RELEASES["valkey-9.1"], "--cluster-require-full-coverage", "no") as made:
        with contextlib.closing(made.client()) as client:
            for key in (FIRST, LAST):
                client.rpush(key, "x")
        yield made


def asking(key: str) -> dict[str, str]:
    """Metadata of a list."""
    return {"type": "redisListTrigger", "keys": key, "connection": "cluster"}


async def _has_value(scaler: Running, key: str) -> bool:
    try:
        return await scaler.keda.target(asking(key)) == 1
    except grpc.aio.AioRpcError:
        return False


async def test_a_fail_over(cluster: Cluster) -> None:
    """After any primary was lost, also the one with slot 0, all keys have values again."""
    async with running_scaler(connections={"cluster": cluster.address}) as scaler:
        for key in (FIRST, LAST):
            assert await _has_value(scaler, key)
        for lost in (FIRST, LAST):
            await asyncio.to_thread(cluster.kill_primary_of, lost)
            for key in (FIRST, LAST):
                await eventually(partial(_has_value, scaler, key), seconds=10)


async def test_a_node_that_hangs(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a node hangs its keys are UNAVAILABLE, and a key of another node has its value, asked about together."""
    monkeypatch.setattr("scaler.measuring.sampler.FRESH_SECONDS", 0)
    node = cluster.node_of(FIRST)
    replicas = [one for one in cluster.nodes if one not in cluster.primaries()]
    async with running_scaler(connections={"cluster": cluster.address}) as scaler:
        for key in (FIRST, LAST):
            assert await _has_value(scaler, key)
        stopped = [node, *replicas]  # without replicas nobody takes over
        for one in stopped:
            one.process.send_signal(signal.SIGSTOP)
        try:
            failures = 0
            while failures < 3:
                hung, well = await asyncio.gather(
                    scaler.keda.target(asking(FIRST)), scaler.keda.target(asking(LAST)), return_exceptions=True
                )
                assert well == 1
                if isinstance(hung, grpc.aio.AioRpcError):
                    assert hung.code() == StatusCode.UNAVAILABLE
                    failures += 1
        finally:
            for one in stopped:
                one.process.send_signal(signal.SIGCONT)
        await eventually(lambda: _has_value(scaler, FIRST), seconds=10)
