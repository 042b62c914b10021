"""Redis servers that tell of new entries by themselves, and how activation then waits for no sample."""

from collections.abc import Callable
from functools import partial

import pytest
import redis.asyncio

from tests.servers.catalogue import RELEASES
from tests.servers.cluster import Cluster
from tests.servers.sentinels import Sentinels
from tests.support.running_scaler import Running, running_scaler
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

LIST = {"type": "redisListTrigger", "keys": "orders"}
STREAM = {"type": "redisStreamTrigger", "keys": "payments"}
#: So seldom that no look in turn comes within a test.
SELDOM = {"push_interval_seconds": 60}
SETTING = "notify-keyspace-events"
CHANNELS = {"orders": "__keyspace@0__:orders", "payments": "__keyspace@0__:payments"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first `true` that is not repeated, and samples that would be good for long, were they not from before."""
    monkeypatch.setattr("scaler.push.subscribers.REPEAT_AFTER_SECONDS", ())
    monkeypatch.setattr("scaler.measuring.sampler.FRESH_SECONDS", 60)


async def subscribers(client: redis.asyncio.Redis, key: str) -> int:
    """How many connections wait for changes of a key."""
    [(_, number)] = await client.pubsub_numsub(CHANNELS[key])
    return int(number)


async def is_listened_for(client: redis.asyncio.Redis, key: str, wanted: int = 1) -> bool:
    """Whether so many connections wait for changes of a key."""
    return await subscribers(client, key) == wanted


@pytest.mark.releases("redis-5.0", "redis-7.0", "valkey-9.1")
@pytest.mark.parametrize("flags", ["AK", "Klt"])
async def test_a_new_entry_is_told_at_once(server: Server, client: redis.asyncio.Redis, flags: str) -> None:
    """Where keyspace notifications are on, `true` comes without a look in turn, for lists and streams."""
    await client.config_set(SETTING, flags)
    async with (
        running_scaler(server, scaler=SELDOM) as scaler,
        scaler.keda.activity(LIST) as orders,
        scaler.keda.activity(STREAM) as payments,
    ):
        for key in CHANNELS:
            await eventually(partial(is_listened_for, client, key))
        await client.rpush("orders", "x")
        await eventually(lambda: orders.said == [True], seconds=5)
        await client.xadd("payments", {"a": "b"})
        await eventually(lambda: payments.said == [True], seconds=5)


async def test_what_is_active_is_not_listened_for(server: Server, client: redis.asyncio.Redis) -> None:
    """Only keys of triggers that are not active are subscribed to: a busy key is no flood."""
    await client.config_set(SETTING, "Klt")
    await client.rpush("orders", "x")
    async with (
        running_scaler(server) as scaler,
        scaler.keda.activity(LIST) as orders,
        scaler.keda.activity(STREAM),
    ):
        await eventually(lambda: is_listened_for(client, "payments"))
        await eventually(lambda: orders.said)
        assert await subscribers(client, "orders") == 0
    await eventually(lambda: is_listened_for(client, "payments", 0))


async def test_a_key_that_never_rests(server: Server, client: redis.asyncio.Redis) -> None:
    """A key that changes all the time without a trigger turning active tells once, and again only after a rest."""
    await client.config_set(SETTING, "Kl")
    metadata = {**LIST, "activationMessages": "1000"}
    async with running_scaler(server, scaler=SELDOM) as scaler, scaler.keda.activity(metadata) as stream:
        await eventually(lambda: is_listened_for(client, "orders"))
        await client.rpush("orders", "x")
        await eventually(lambda: is_listened_for(client, "orders", 0))
        before = await scaler.rounds()
        for _ in range(100):
            await client.rpush("orders", "x")
        assert await scaler.rounds() <= before + 1
        assert stream.said == []


async def test_listening_goes_on_after_a_rest(
    server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that changed is listened for again once a look after its rest found the trigger not active."""
    monkeypatch.setattr("scaler.push.keyspace_listener.REST_SECONDS", 0.05)
    monkeypatch.setattr("scaler.measuring.sampler.FRESH_SECONDS", 0.005)
    await client.config_set(SETTING, "Kl")
    async with running_scaler(server) as scaler, scaler.keda.activity({**LIST, "activationMessages": "1"}) as stream:
        await eventually(lambda: is_listened_for(client, "orders"))
        await client.rpush("orders", "x")
        await eventually(lambda: is_listened_for(client, "orders", 0))
        await eventually(lambda: is_listened_for(client, "orders"))
        await client.rpush("orders", "x")
        await eventually(lambda: stream.said == [True])


@pytest.mark.parametrize("flags", ["", "El", "Kg"])
async def test_samples_do_without(
    server: Server, client: redis.asyncio.Redis, flags: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that does not tell of new entries is left as it is, and looks in turn find them."""
    monkeypatch.setattr("scaler.measuring.sampler.FRESH_SECONDS", 0.005)
    await client.config_set(SETTING, flags)
    async with running_scaler(server) as scaler, scaler.keda.activity(LIST) as stream:
        await eventually(lambda: _has_measured(scaler))
        await client.rpush("orders", "x")
        await eventually(lambda: stream.said == [True])
        assert await subscribers(client, "orders") == 0
    assert set(str((await client.config_get(SETTING))[SETTING])) == set(flags)


async def _has_measured(scaler: Running) -> bool:
    return await scaler.rounds() > 2


@pytest.mark.parametrize("denied", ["-config", "resetchannels"])
async def test_a_user_that_may_not_listen(own_server: Server, denied: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the right to CONFIG GET or to the channels, looks in turn find new entries, and it is not tried often."""
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
            await eventually(lambda: stream.said == [True])
            assert sum(int(entry["count"]) for entry in admin.acl_log()) == 1


async def test_listening_again(server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscription that is lost is made fresh, and so is one at a server that begins to tell of new entries."""
    monkeypatch.setattr("scaler.push.keyspace_listener.LOOK_AGAIN_SECONDS", 0.05)
    monkeypatch.setattr("scaler.push.keyspace_listener.LOST_SECONDS", 0.05)
    async with running_scaler(server, scaler=SELDOM) as scaler, scaler.keda.activity(LIST) as stream:
        await stream.call.initial_metadata()
        await client.config_set(SETTING, "Kl")
        await eventually(lambda: is_listened_for(client, "orders"))
        await client.client_kill_filter(_type="pubsub")
        await eventually(lambda: is_listened_for(client, "orders", 0))
        await eventually(lambda: is_listened_for(client, "orders"))
        await client.rpush("orders", "x")
        await eventually(lambda: stream.said == [True], seconds=5)


@pytest.mark.parametrize("kind", [Cluster, Sentinels])
async def test_behind_sentinels_and_on_a_cluster(kind: Callable[..., Cluster | Sentinels]) -> None:
    """New entries are told at once by the primary that Sentinels know, and by each primary of a cluster."""
    with kind(RELEASES["valkey-9.1"], f"--{SETTING}", "Klt") as servers:
        async with (
            running_scaler(servers, scaler=SELDOM) as scaler,
            scaler.keda.activity(LIST) as orders,
            scaler.keda.activity(STREAM) as payments,
        ):
            for key in CHANNELS:
                node = servers.node_of(key) if isinstance(servers, Cluster) else servers.primary
                async with redis.asyncio.Redis(port=node.port, protocol=2) as client:
                    await eventually(partial(is_listened_for, client, key))
                    await (client.rpush(key, "x") if key == "orders" else client.xadd(key, {"a": "b"}))
            await eventually(lambda: orders.said == payments.said == [True], seconds=5)
