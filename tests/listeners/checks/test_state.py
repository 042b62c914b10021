"""What `check` finds by looking: keys of another type, replicas, notifications that are off, missing groups."""

import pytest
import redis.asyncio

from listeners.keys import dead_letters_key, elements_key, inflight_key, lease_epoch_key, lease_key
from tests.listeners.checks.test_trials import every_kind, results
from tests.servers.catalogue import RELEASES
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage
from triggerfish.testing.server import Server

#: An old one, a new one, and Valkey.
SOME = ("redis-5.0", "redis-8.2", "valkey-9.1")

LEASE = lease_key("shop", "on_message")
TYPES = [
    ("q", "on_element", "a list"),
    (inflight_key("q"), "on_element", "a sorted set"),
    (elements_key("odd}key"), "on_element", "a hash"),
    (dead_letters_key("p"), "on_popped", "a stream"),
    ("s}2", "on_entry", "a stream"),
    (dead_letters_key("s"), "on_entry", "a stream"),
    (LEASE, "on_message", "a string"),
    (lease_epoch_key(LEASE), "on_message", "a string"),
]


@pytest.mark.releases(*SOME)
@pytest.mark.parametrize(("key", "function", "expected"), TYPES)
async def test_a_key_of_another_type(
    client: redis.asyncio.Redis, server: Server, key: str, function: str, expected: str
) -> None:
    """A key of another type fails its function alone, and is named with the type that it should have, and the fix."""
    if expected == "a sorted set":
        await client.set(key, "x")
    else:
        await client.zadd(key, {"x": 1})
    before = await client.dump(key)
    for write in (True, False):
        found = await results(server.address, write=write)
        assert [name for name, one in found.items() if not one.works] == [function]
        assert f"key {key!r} holds another type than {expected}: Delete or rename the key" in found[function].detail
        assert await client.dump(key) == before
        assert await client.dbsize() == 1


@pytest.mark.parametrize("release", ["redis-5.0", "redis-7.2", "valkey-9.1"])
async def test_a_replica(release: str) -> None:
    """A replica fails every trigger that writes, and the fix names the primary."""
    with RELEASES[release].start() as primary:
        where = ("127.0.0.1", str(primary.port))
        with RELEASES[release].start("--replicaof", *where) as replica, replica.client() as client:
            await eventually(lambda: client.info("replication")["master_link_status"] == "up")
            for write in (True, False):
                found = await results(replica.address, write=write)
                assert [name for name, one in found.items() if one.works] == ["on_pattern"]
                detail = found["on_element"].detail
                assert f"replica of 127.0.0.1:{primary.port}" in detail
                assert "Give the address of the primary" in detail


@pytest.mark.releases(*SOME)
@pytest.mark.parametrize("channel", ["__keyspace@0__:orders*", "__keyevent@0__:expired"])
async def test_notifications_that_are_off(client: redis.asyncio.Redis, server: Server, channel: str) -> None:
    """Without the notifications that a trigger reads, nothing arrives: it fails with the command that enables them."""
    app = App("shop")

    @app.pubsub_trigger(channel=channel)
    async def on_change(message: RedisMessage) -> None: ...

    found = (await results(server.address, app))["on_change"]
    assert not found.works
    command = found.detail.partition("Enable them: ")[2].split(";")[0]
    await client.execute_command(*command.split())
    assert (await results(server.address, app))["on_change"].works


@pytest.mark.releases("redis-6.0", "valkey-9.1")
async def test_notifications_that_are_unknown(client: redis.asyncio.Redis, server: Server) -> None:
    """Where CONFIG GET is denied, it is a warning that the notifications may be off."""
    app = App("shop")

    @app.pubsub_trigger(channel="__keyspace@0__:orders")
    async def on_change(message: RedisMessage) -> None: ...

    channels = [] if server.client().info("server")["redis_version"].startswith("6.0") else ["&*"]
    await client.execute_command("ACL", "SETUSER", "limited", "on", ">pw", "~*", *channels, "+@all", "-config")
    try:
        found = (await results(f"{server.address},user=limited,password=pw", app))["on_change"]
    finally:
        await client.execute_command("ACL", "DELUSER", "limited")
    assert found.works
    assert any("CONFIG GET is denied" in warning for warning in found.warnings)


@pytest.mark.releases(*SOME)
async def test_a_group_that_does_not_exist(client: redis.asyncio.Redis, server: Server) -> None:
    """Entries that are there before the group does are reported, with the command that leaves them out."""
    await client.xadd("s", {"f": "v"})
    found = (await results(server.address))["on_entry"]
    assert found.works
    [warning] = [warning for warning in found.warnings if "no group" in warning]
    assert "stream 's' has 1 entries" in warning
    command = warning.partition("To receive only new ones: ")[2]
    await client.execute_command(*command.split())
    found = (await results(server.address))["on_entry"]
    assert not any("no group" in warning for warning in found.warnings)


@pytest.mark.parametrize("release", ["redis-6.2", "redis-7.2", "valkey-9.1"])
async def test_a_server_that_reports_no_changes(release: str) -> None:
    """A renamed command that polling replaces is a warning, and the result says that keys are polled."""
    with RELEASES[release].start("--rename-command", "HELLO", "") as server:
        found = await results(server.address, every_kind())
        assert all(one.works for one in found.values())
        for name in ("on_element", "on_end", "on_popped", "on_entry"):
            assert "polled at intervals of up to" in found[name].detail
            [warning] = [warning for warning in found[name].warnings if "HELLO" in warning]
            assert "polled" in warning
        with server.client() as client:
            assert client.dbsize() == 0


@pytest.mark.parametrize("release", ["redis-7.2", "valkey-9.1"])
async def test_a_user_who_may_not_remove_keys(release: str) -> None:
    """Without DEL, nothing is made: a warning names it, and that the commands were not executed."""
    app = App("shop")

    @app.list_trigger(keys="q")
    async def on_element(message: RedisMessage) -> None: ...

    with RELEASES[release].start() as server, server.client() as client:
        client.execute_command("ACL", "SETUSER", "limited", "on", ">pw", "~*", "+@all", "-del")
        found = (await results(f"{server.address},user=limited,password=pw", app))["on_element"]
        assert found.works
        assert any("DEL denied" in warning for warning in found.warnings)
        assert any("its commands were not executed" in warning for warning in found.warnings)
        assert client.dbsize() == 0
