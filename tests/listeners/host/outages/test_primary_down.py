"""One primary of a cluster is down, and has no replica: entries on the other nodes go on without those on this one."""

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest
import redis

from listeners.keys import inflight_key
from tests.servers.catalogue import RELEASES
from tests.servers.cluster import Cluster
from tests.support.running_host import running_host
from tests.support.trigger_kinds import GROUP, Kind, both_kinds, payload_of
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage
from triggerfish.testing.server import Server

BATCH_SIZE = 4


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster that keeps its data, and serves the slots of the nodes that are up."""
    arguments = ("--appendonly", "yes", "--appendfsync", "always", "--cluster-require-full-coverage", "no")
    with Cluster(RELEASES["valkey-9.1"], *arguments) as cluster:
        yield cluster


class Node:
    """One node, and a key of it."""

    def __init__(self, server: Server, kind: Kind, key: str) -> None:
        self._client = server.client()
        self._kind = kind
        self.key = key

    def add(self, *payloads: str) -> None:
        """Add entries."""
        for payload in payloads:
            if self._kind == "list":
                self._client.rpush(self.key, payload)
            else:
                self._client.xadd(self.key, {"payload": payload})

    def is_settled(self) -> bool:
        """Return whether no entry waits or is in flight."""
        try:
            if self._kind == "list":
                return not self._client.llen(self.key) and not self._client.zcard(inflight_key(self.key))
            group = next(group for group in self._client.xinfo_groups(self.key) if group["name"] == GROUP)
            return bool(group["pending"] == group["lag"] == 0)
        except redis.RedisError:  # it is about to start
            return False


def two_nodes(cluster: Cluster, kind: Kind) -> tuple[Node, Node]:
    """Return two nodes with one key each."""
    first = cluster.node_of("a")
    key = next(key for key in "bcdefgh" if cluster.node_of(key) is not first)
    return Node(first, kind, "a"), Node(cluster.node_of(key), kind, key)


@both_kinds
@pytest.mark.parametrize(
    ("stuck", "suspended", "batch"), [(1, True, False), (BATCH_SIZE, False, False), (BATCH_SIZE, True, True)]
)
async def test_the_other_nodes_go_on(cluster: Cluster, kind: Kind, stuck: int, suspended: bool, batch: bool) -> None:
    """Calls with entries of a node that goes down have ended, and cannot be settled: one, or as many as may run."""
    down, up = two_nodes(cluster, kind)
    app, called, gate = App(), Counter[str](), asyncio.Event()

    async def one(message: RedisMessage) -> None:
        called[payload_of(message)] += 1
        if message.trigger == down.key:
            await gate.wait()

    async def many(messages: list[RedisMessage]) -> None:
        for message in messages:
            await one(message)

    keys = [down.key, up.key]
    register = app.list_trigger if kind == "list" else app.stream_trigger
    register(keys=keys, batch_size=BATCH_SIZE, polling_interval_ms=20)(many if batch else one)
    stuck_payloads = [f"down {number}" for number in range(stuck)]
    down.add(*stuck_payloads)
    async with running_host(cluster, app) as host:
        await eventually(lambda: called)
        if not batch:
            await eventually(lambda: len(called) == stuck)
        with cluster.primary_down(down.key, suspended=suspended):
            payloads = [f"up {number}" for number in range(20)]
            up.add(*payloads)
            gate.set()
            await eventually(lambda: called.keys() >= set(payloads))
            await eventually(up.is_settled)
            labels = {"app": "test", "function": "many" if batch else "one"}
            await eventually(lambda: host.registry.get_sample_value("triggerfish_source_up", labels) == 0)
        await eventually(down.is_settled)
        await eventually(lambda: host.registry.get_sample_value("triggerfish_source_up", labels) == 1)
        down.add("late")
        await eventually(lambda: called["late"])
    assert called == Counter([*stuck_payloads, *payloads, "late"])
