"""Lists, streams and measuring on a real cluster of six nodes: several slots, failover, slot migration."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import redis.asyncio

from listeners.connections.spec import ConnectionSpec
from listeners.connections.strings import parse_connection_string
from listeners.errors import SourceUnavailableError
from listeners.functions.triggers import DEFAULT_CONSUMER_GROUP, ListTrigger, StreamTrigger
from listeners.keys import dead_letters_key, inflight_key
from listeners.redis.client import Client
from scaler.measuring.backlog import Backlog
from scaler.triggers.measured_trigger import MeasuredTrigger
from tests.servers.catalogue import RELEASES, present
from tests.servers.cluster import Cluster
from tests.support.measuring import measure_now
from tests.support.running_host import running_host
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage

#: Keys in different slots, on all three primaries.
KEYS = ("a", "b", "c", "d", "e")


@pytest.fixture(scope="module", params=present("redis-7.0", "redis-8.2", "valkey-9.1"))
def shared_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with Cluster(RELEASES[request.param]) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Cluster:
    """A cluster without keys, which tests must leave intact."""
    for node in shared_cluster.nodes:
        with node.client() as client:
            if client.info("replication")["role"] == "master":
                client.flushall()
    return shared_cluster


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[redis.asyncio.RedisCluster]:
    """A plain client for the test."""
    async with redis.asyncio.RedisCluster("127.0.0.1", cluster.nodes[0].port, protocol=2) as connected:
        yield connected


@pytest.fixture
async def ours(cluster: Cluster) -> AsyncIterator[Client]:
    """A client as hosts and the scaler use it, which is given one node only."""
    connected = Client(ConnectionSpec(port=cluster.nodes[0].port), "test")
    yield connected
    await connected.aclose()


def lists_and_streams(handled: list[str]) -> App:
    """Return an app that reads the lists and streams of all keys, and records "key payload"."""
    app = App("test")

    @app.list_trigger(keys=[f"l{key}" for key in KEYS])
    async def on_element(message: RedisMessage) -> None:
        handled.append(f"{message.trigger} {message.message}")

    @app.stream_trigger(keys=[f"s{key}" for key in KEYS], delete_after_process=True)
    async def on_entry(message: RedisMessage) -> None:
        assert message.fields is not None
        handled.append(f"{message.trigger} {next(iter(message.fields.values()))}")

    return app


async def produce(client: redis.asyncio.RedisCluster, first: int, last: int) -> list[str]:
    """Add numbers to every list and stream. Return what must be handled."""
    for number in range(first, last):
        for key in KEYS:
            await client.rpush(f"l{key}", number)
            await client.xadd(f"s{key}", {"number": number})
    return [f"{kind}{key} {number}" for number in range(first, last) for key in KEYS for kind in "ls"]


async def all_settled(client: redis.asyncio.RedisCluster) -> bool:
    """Return whether no entry is waiting, in flight or pending."""
    for key in KEYS:
        pending = (await client.xpending(f"s{key}", DEFAULT_CONSUMER_GROUP))["pending"]
        if await client.llen(f"l{key}") or await client.zcard(inflight_key(f"l{key}")) or pending:
            return False
    return True


async def test_keys_in_several_slots(cluster: Cluster, client: redis.asyncio.RedisCluster) -> None:
    """One trigger reads keys in several slots; each element and entry is handled once, and settled on its node."""
    handled: list[str] = []
    expected = await produce(client, 0, 10)
    async with running_host(cluster, lists_and_streams(handled)):
        expected += await produce(client, 10, 20)
        await eventually(lambda: len(handled) >= len(expected))
        await eventually(lambda: all_settled(client))
    assert sorted(handled) == sorted(expected)


async def test_at_most_once_pops_slot_by_slot(cluster: Cluster, client: redis.asyncio.RedisCluster) -> None:
    """LMPOP takes from the keys of one slot, and every slot gets its turn."""
    handled: list[str] = []
    app = App("test")
    keys = ["{x}1", "{x}2", "{y}1"]

    @app.list_trigger(keys=keys, delivery="at-most-once")
    async def on_element(message: RedisMessage) -> None:
        handled.append(message.trigger)

    for key in keys:
        await client.rpush(key, *range(30))
    async with running_host(cluster, app):
        await eventually(lambda: len(handled) == 90)
    assert sorted(set(handled)) == sorted(keys)


async def test_a_retry_and_a_dead_letter(
    cluster: Cluster, client: redis.asyncio.RedisCluster, quick_retries: None
) -> None:
    """A failing entry is retried, and then dead-lettered beside its key, in the same slot."""
    app = App("test")
    attempts: list[str] = []

    @app.list_trigger(keys="l", max_deliveries=2)
    async def on_element(element: str) -> None:
        attempts.append(element)
        raise ValueError("no")

    @app.stream_trigger(keys="s", max_deliveries=2)
    async def on_entry(entry: dict[str, str]) -> None:
        attempts.append(entry["n"])
        raise ValueError("no")

    await client.rpush("l", "1")
    await client.xadd("s", {"n": "2"})
    async with running_host(cluster, app):
        await eventually(lambda: len(attempts) == 4)
        await eventually(lambda: client.xlen(dead_letters_key("l")))
        await eventually(lambda: client.xlen(dead_letters_key("s")))
    assert sorted(attempts) == ["1", "1", "2", "2"]


async def test_a_slot_moves_under_a_running_host(cluster: Cluster, client: redis.asyncio.RedisCluster) -> None:
    """When the slot of a key moves to another node, reading follows it and nothing is lost."""
    handled: list[str] = []
    async with running_host(cluster, lists_and_streams(handled)):
        expected = await produce(client, 0, 5)
        for key in ("la", "sa"):
            await asyncio.to_thread(cluster.move_slot_of, key)
        expected += await produce(client, 5, 10)
        await eventually(lambda: len(set(handled)) == len(expected), seconds=20)
        await eventually(lambda: all_settled(client))
    assert set(handled) == set(expected)


async def test_a_key_that_moves_before_its_slot(cluster: Cluster, ours: Client) -> None:
    """During a slot migration, a command follows a key that has already moved (ASK)."""
    await ours.command("la", "RPUSH", "la", "1", doing="adding")
    source = cluster.node_of("la")
    target = next(node for node in cluster.primaries() if node is not source)
    with cluster.migrating_slot_of("la", source, target):
        assert await ours.command("la", "LLEN", "la", doing="counting") == 1
        cluster.move_keys_of("la", source, target)
        assert await ours.command("la", "LLEN", "la", doing="counting") == 1
        with pytest.raises(SourceUnavailableError):
            await ours.transaction("la", [("LLEN", "la")], doing="counting")
    assert await ours.command("la", "LLEN", "la", doing="counting") == 1


async def test_measuring_over_several_nodes(client: redis.asyncio.RedisCluster, ours: Client) -> None:
    """Backlogs are measured on the node of each key; the client is given a single node."""
    for at, key in enumerate(KEYS):
        await client.rpush(f"l{key}", *range(at + 1))
        for _ in range(at + 1):
            await client.xadd(f"s{key}", {"n": 1})
    lists = MeasuredTrigger(ListTrigger(keys=tuple(f"l{key}" for key in KEYS)))
    streams = MeasuredTrigger(StreamTrigger(keys=tuple(f"s{key}" for key in KEYS)))
    found = await measure_now(ours, [lists, streams])
    for subject in (lists, streams):
        backlog = found[subject]
        assert isinstance(backlog, Backlog), backlog
        assert [key.entries for key in backlog.keys] == [1, 2, 3, 4, 5]


async def test_measuring_follows_a_slot(cluster: Cluster, client: redis.asyncio.RedisCluster, ours: Client) -> None:
    """After a slot migration its backlog is measured on the new node; until then it may be unknown, never too low."""
    await client.rpush("la", *range(7))
    subject = MeasuredTrigger(ListTrigger(keys=("la",)))
    server = await ours.server()
    source = cluster.node_of("la")
    target = next(node for node in cluster.primaries() if node is not source)
    with cluster.migrating_slot_of("la", source, target):
        found = (await measure_now(ours, [subject], server=server))[subject]
        assert isinstance(found, SourceUnavailableError) or (isinstance(found, Backlog) and found.entries == 7)
    found = (await measure_now(ours, [subject], server=server))[subject]
    assert isinstance(found, Backlog), found
    assert found.entries == 7


@pytest.mark.parametrize("release", present("redis-7.0", "valkey-9.1"))
async def test_a_failover(release: str) -> None:
    """When a primary dies, reading and measuring resume by themselves on its replica."""
    with Cluster(RELEASES[release]) as cluster:
        handled: list[str] = []
        client = redis.asyncio.RedisCluster("127.0.0.1", cluster.nodes[1].port, protocol=2)
        ours = Client(parse_connection_string(cluster.address), "test")
        subject = MeasuredTrigger(ListTrigger(keys=tuple(f"l{key}" for key in KEYS)))
        server = await ours.server()
        async with client, running_host(cluster, lists_and_streams(handled)):
            expected = await produce(client, 0, 5)
            await eventually(lambda: len(handled) == len(expected))
            await asyncio.to_thread(cluster.kill_primary_of, "la")
            expected += await produce(client, 5, 10)
            await eventually(lambda: len(set(handled)) == len(expected), seconds=30)

            async def measured() -> bool:
                found = (await measure_now(ours, [subject], server=server))[subject]
                return isinstance(found, Backlog) and found.entries == 0

            await eventually(measured, seconds=20)
        await ours.aclose()
        assert set(handled) == set(expected)
