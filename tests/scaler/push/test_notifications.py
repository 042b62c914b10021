"""Keyspace notifications: where Redis publishes them, activation does not wait for the next check in turn."""

from collections.abc import Callable
from functools import partial

import pytest
import redis.asyncio

from tests.servers.catalogue import RELEASES
from tests.servers.cluster import Cluster
from tests.servers.sentinels import Sentinels
from tests.support.running_scaler import RunningScaler, running_scaler
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

LIST = {"type": "redisListTrigger", "keys": "orders"}
STREAM = {"type": "redisStreamTrigger", "keys": "payments"}
#: An interval so long that no check in turn happens within a test.
RARELY = {"push_interval_seconds": 60}
SETTING = "notify-keyspace-events"
CHANNELS = {"orders": "__keyspace@0__:orders", "payments": "__keyspace@0__:payments"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not repeat the first `true`. Cache samples for long, so that only a fresh one can be newer."""
    monkeypatch.setattr("scaler.push.subscribers.REPEAT_AFTER_SECONDS", ())
    monkeypatch.setattr("scaler.measuring.sampler.FRESH_SECONDS", 60)


async def subscribers(client: redis.asyncio.Redis, key: str) -> int:
    """Return how many connections are subscribed to changes of a key."""
    [(_, number)] = await client.pubsub_numsub(CHANNELS[key])
    return int(number)


async def has_subscribers(client: redis.asyncio.Redis, key: str, number: int = 1) -> bool:
    """Return whether this many connections are subscribed to changes of a key."""
    return await subscribers(client, key) == number


@pytest.mark.releases("redis-5.0", "redis-7.0", "valkey-9.1")
@pytest.mark.parametrize("flags", ["AK", "Klt"])
async def test_a_new_entry_activates_at_once(server: Server, client: redis.asyncio.Redis, flags: str) -> None:
    """With keyspace notifications, a new entry of a list or stream leads to `true` without a check in turn."""
    await client.config_set(SETTING, flags)
    async with (
        running_scaler(server, scaler=RARELY) as scaler,
        scaler.keda.activity(LIST) as orders,
        scaler.keda.activity(STREAM) as payments,
    ):
        for key in CHANNELS:
            await eventually(partial(has_subscribers, client, key))
        await client.rpush("orders", "x")
        await eventually(lambda: orders.received == [True], seconds=5)
        await client.xadd("payments", {"a": "b"})
        await eventually(lambda: payments.received == [True], seconds=5)


async def test_active_triggers_are_not_subscribed_to(server: Server, client: redis.asyncio.Redis) -> None:
    """Only the keys of inactive triggers are subscribed to, so that a busy key does not flood the scaler."""
    await client.config_set(SETTING, "Klt")
    await client.rpush("orders", "x")
    async with (
        running_scaler(server) as scaler,
        scaler.keda.activity(LIST) as orders,
        scaler.keda.activity(STREAM),
    ):
        await eventually(lambda: has_subscribers(client, "payments"))
        await eventually(lambda: orders.received)
        assert await subscribers(client, "orders") == 0
    await eventually(lambda: has_subscribers(client, "payments", 0))


async def test_a_busy_key_is_muted(server: Server, client: redis.asyncio.Redis) -> None:
    """A key that changes all the time without activating its trigger causes one check, and is then muted."""
    await client.config_set(SETTING, "Kl")
    metadata = {**LIST, "activationMessages": "1000"}
    async with running_scaler(server, scaler=RARELY) as scaler, scaler.keda.activity(metadata) as stream:
        await eventually(lambda: has_subscribers(client, "orders"))
        await client.rpush("orders", "x")
        await eventually(lambda: has_subscribers(client, "orders", 0))
        before = await scaler.rounds()
        for _ in range(100):
            await client.rpush("orders", "x")
        assert await scaler.rounds() <= before + 1
        assert stream.received == []


async def test_a_muted_key_is_subscribed_to_again(
    server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A muted key is subscribed to again after MUTE_SECONDS, once a check finds its trigger inactive."""
    monkeypatch.setattr("scaler.push.keyspace_listener.MUTE_SECONDS", 0.05)
    monkeypatch.setattr("scaler.measuring.sampler.FRESH_SECONDS", 0.005)
    await client.config_set(SETTING, "Kl")
    async with running_scaler(server) as scaler, scaler.keda.activity({**LIST, "activationMessages": "1"}) as stream:
        await eventually(lambda: has_subscribers(client, "orders"))
        await client.rpush("orders", "x")
        await eventually(lambda: has_subscribers(client, "orders", 0))
        await eventually(lambda: has_subscribers(client, "orders"))
        await client.rpush("orders", "x")
        await eventually(lambda: stream.received == [True])


@pytest.mark.parametrize("flags", ["", "El", "Kg"])
async def test_without_notifications(
    server: Server, client: redis.asyncio.Redis, flags: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server without notifications of new entries is not reconfigured, and checks in turn find the entries."""
    monkeypatch.setattr("scaler.measuring.sampler.FRESH_SECONDS", 0.005)
    await client.config_set(SETTING, flags)
    async with running_scaler(server) as scaler, scaler.keda.activity(LIST) as stream:
        await eventually(lambda: _has_measured(scaler))
        await client.rpush("orders", "x")
        await eventually(lambda: stream.received == [True])
        assert await subscribers(client, "orders") == 0
    assert set(str((await client.config_get(SETTING))[SETTING])) == set(flags)


async def _has_measured(scaler: RunningScaler) -> bool:
    return await scaler.rounds() > 2


@pytest.mark.parametrize("denied", ["-config", "resetchannels"])
async def test_a_user_that_may_not_listen(own_server: Server, denied: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without permission for CONFIG GET or the channels, checks in turn find new entries, and retries are rare."""
    monkeypatch.setattr("scaler.measuring.sampler.FRESH_SECONDS", 0.005)
    monkeypatch.setattr("scaler.push.keyspace_listener.LOST_SECONDS", 0.01)
    with own_server.client() as admin:
        admin.config_set(SETTING, "Kl")
        admin.execute_command("ACL", "SETUSER", "narrow", "on", ">secret", "~*", "&*", "+@all", denied)
        connection = {"narrow": f"{own_server.address},user=narrow,password=secret"}
        metadata = {**LIST, "connection": "narrow"}
        async with running_scaler(connections=connection) as scaler, scaler.keda.activity(metadata) as stream:
            await eventually(lambda: admin.execute_command("ACL", "LOG"))
            admin.rpush("orders", "x")
            await eventually(lambda: stream.received == [True])
            assert sum(int(entry["count"]) for entry in admin.acl_log()) == 1


async def test_listening_again(server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """The listener subscribes when a server starts to publish notifications, and again after a lost connection."""
    monkeypatch.setattr("scaler.push.keyspace_listener.RECHECK_SECONDS", 0.05)
    monkeypatch.setattr("scaler.push.keyspace_listener.LOST_SECONDS", 0.05)
    async with running_scaler(server, scaler=RARELY) as scaler, scaler.keda.activity(LIST) as stream:
        await stream.call.initial_metadata()
        await client.config_set(SETTING, "Kl")
        await eventually(lambda: has_subscribers(client, "orders"))
        await client.client_kill_filter(_type="pubsub")
        await eventually(lambda: has_subscribers(client, "orders", 0))
        await eventually(lambda: has_subscribers(client, "orders"))
        await client.rpush("orders", "x")
        await eventually(lambda: stream.received == [True], seconds=5)


@pytest.mark.parametrize("kind", [Cluster, Sentinels])
async def test_behind_sentinels_and_on_a_cluster(kind: Callable[..., Cluster | Sentinels]) -> None:
    """Notifications come from the primary behind Sentinels, and from each primary of a cluster."""
    with kind(RELEASES["valkey-9.1"], f"--{SETTING}", "Klt") as servers:
        async with (
            running_scaler(servers, scaler=RARELY) as scaler,
            scaler.keda.activity(LIST) as orders,
            scaler.keda.activity(STREAM) as payments,
        ):
            for key in CHANNELS:
                node = servers.node_of(key) if isinstance(servers, Cluster) else servers.primary
                async with redis.asyncio.Redis(port=node.port, protocol=2) as client:
                    await eventually(partial(has_subscribers, client, key))
                    await (client.rpush(key, "x") if key == "orders" else client.xadd(key, {"a": "b"}))
            await eventually(lambda: orders.received == payments.received == [True], seconds=5)
