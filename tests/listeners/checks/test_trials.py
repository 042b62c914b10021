"""`check` executes what the host executes, on keys of its own, and leaves the user's keys as they are."""

import asyncio
from typing import Any

import pytest
import redis.asyncio
from pydantic import SecretStr

from listeners.checks import leased_trial
from listeners.checks.check import CheckResult, check
from listeners.connections.named import Connections
from listeners.errors import CommandRefusedError, SourceError
from listeners.leases.redis_lease import RedisLease
from listeners.lists.source import ListSource
from listeners.settings import HostSettings
from listeners.streams.source import StreamSource
from tests.servers.catalogue import RELEASES
from tests.servers.cluster import Cluster
from triggerfish import App, RedisMessage
from triggerfish.testing.server import Server


def every_kind() -> App:
    """Return an app with each kind of trigger and delivery, on keys with and without braces."""
    app = App("shop")

    @app.list_trigger(keys="q a{b}c odd}key")
    async def on_element(message: RedisMessage) -> None: ...

    @app.list_trigger(keys="q-end", list_pop_from_beginning=False)
    async def on_end(message: RedisMessage) -> None: ...

    @app.list_trigger(keys="p p{2}", delivery="at-most-once")
    async def on_popped(message: RedisMessage) -> None: ...

    @app.stream_trigger(keys="s s}2", polling_interval_ms=20)
    async def on_entry(message: RedisMessage) -> None: ...

    @app.stream_trigger(keys="s-deleted", delete_after_process=True, polling_interval_ms=20)
    async def on_deleted(message: RedisMessage) -> None: ...

    @app.pubsub_trigger(channel="c")
    async def on_message(message: RedisMessage) -> None: ...

    @app.pubsub_trigger(channel="c*", singleton=False)
    async def on_pattern(message: RedisMessage) -> None: ...

    return app


async def results(address: str, app: App | None = None, *, write: bool = True) -> dict[str, CheckResult]:
    """Return the results of `check` by function."""
    connections = Connections(SecretStr(address))
    return {one.function: one async for one in check(app or every_kind(), connections, HostSettings(), write=write)}


async def content(client: redis.asyncio.Redis) -> dict[str, Any]:
    """Return everything that the server has, with the groups of streams and the lives of keys."""
    found: dict[str, Any] = {}
    for key in sorted(await client.keys("*")):
        found[str(key)] = (await client.dump(key), await client.pttl(key))
    return found


async def test_the_users_keys_are_left_alone(client: redis.asyncio.Redis, server: Server) -> None:
    """Every trigger works, and entries, groups and pending entries are as before, with and without the trial."""
    for key in ("q", "a{b}c", "odd}key", "q-end", "p", "p{2}"):
        await client.rpush(key, "1", "2")
    for key in ("s", "s}2", "s-deleted"):
        await client.xadd(key, {"f": "v"})
        await client.xgroup_create(key, "AzureFunctionRedisExtension", "0")
    await client.xreadgroup("AzureFunctionRedisExtension", "another", {"s": ">"})
    before = await content(client)
    for write in (True, False):
        found = await results(server.address, write=write)
        assert [one.detail for one in found.values() if not one.works] == []
        assert await content(client) == before
        assert not any("not executed" in warning for one in found.values() for warning in one.warnings)


async def test_the_commands_are_executed(client: redis.asyncio.Redis, server: Server) -> None:
    """The host's commands run on keys of the check: each is counted by the server, and without the trial none is."""
    wanted = {"evalsha", "xreadgroup", "xack", "ltrim", "hset", "subscribe", "psubscribe", "publish", "zrem", "xdel"}

    async def executed(*, write: bool) -> set[str]:
        await client.config_resetstat()
        await results(server.address, write=write)
        return {name.removeprefix("cmdstat_") for name in await client.info("commandstats")} & wanted

    assert await executed(write=False) == set()
    assert await executed(write=True) == wanted


@pytest.mark.parametrize(
    ("source", "function"),
    [(ListSource, "on_element"), (ListSource, "on_end"), (ListSource, "on_popped"), (StreamSource, "on_entry")],
)
@pytest.mark.releases("redis-5.0", "redis-7.2", "valkey-9.1")
async def test_keys_of_a_trial_that_fails(
    client: redis.asyncio.Redis,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    source: type[ListSource | StreamSource],
    function: str,
) -> None:
    """All keys of a trial expire from the beginning, and are removed when a step fails; the failure is reported."""
    lives: list[int] = []

    async def fail(self: object, *arguments: object) -> None:
        if "check-" in str(vars(self)):
            lives.extend([await client.pttl(key) for key in await client.keys("*")])
        raise CommandRefusedError("settling: no room")

    monkeypatch.setattr(source, "settle", fail)
    found = (await results(server.address))[function]
    assert not found.works
    assert "executed on keys of the check" in found.detail
    assert "settling: no room" in found.detail
    assert lives
    assert all(0 < life <= 60_000 for life in lives)
    assert await client.dbsize() == 0


@pytest.mark.parametrize(("source", "function"), [(ListSource, "on_end"), (StreamSource, "on_entry")])
@pytest.mark.releases("redis-5.0", "valkey-9.1")
async def test_a_server_that_loses_the_entries(
    client: redis.asyncio.Redis,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    source: type[ListSource | StreamSource],
    function: str,
) -> None:
    """The trial waits for its entries for a few seconds only, and the error reports how many were not returned."""
    open_source: Any = source.open

    async def lose(self: ListSource | StreamSource) -> None:
        await open_source(self)
        for key in await client.keys("*check-*"):
            await client.delete(key)

    monkeypatch.setattr(leased_trial, "TAKE_SECONDS", 0.2)
    monkeypatch.setattr(source, "open", lose)
    async with asyncio.timeout(30):  # without a bound, the next look is after some 40 s
        found = (await results(server.address))[function]
    assert not found.works
    assert "only 0 were returned within 0.2 s" in found.detail
    assert await client.dbsize() == 0


@pytest.mark.releases("redis-5.0", "redis-7.2", "valkey-9.1")
async def test_the_lease_of_a_trial_that_fails(
    client: redis.asyncio.Redis, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease of a trial expires too, and is removed; the function's own lease is not touched."""
    lives: list[int] = []
    own = {b"triggerfish:{shop:on_message}:lease": b"holder", b"triggerfish:{shop:on_message}:lease:epoch": b"7"}
    for key, value in own.items():
        await client.set(key, value)

    async def fail(self: RedisLease) -> bool:
        lives.extend([await client.pttl(key) for key in await client.keys("*check-*")])
        raise SourceError("no release")

    monkeypatch.setattr(RedisLease, "release", fail)
    found = (await results(server.address))["on_message"]
    assert not found.works
    assert "no release" in found.detail
    assert lives
    assert all(0 < life <= 60_000 for life in lives)
    assert {key: await client.get(key) for key in await client.keys("*")} == own


@pytest.mark.releases("redis-5.0", "redis-7.2", "valkey-9.1")
async def test_a_server_at_its_memory_limit(client: redis.asyncio.Redis, server: Server) -> None:
    """A server that refuses writes, although every command is allowed, is found by executing them."""
    await client.config_set("maxmemory-policy", "noeviction")
    await client.config_set("maxmemory", 1)
    try:
        found = await results(server.address)
        looked = await results(server.address, write=False)
    finally:
        await client.config_set("maxmemory", 0)
    assert {name for name, one in found.items() if one.works} == {"on_pattern"}
    assert all("OOM" in one.detail or "used memory" in one.detail for one in found.values() if not one.works)
    assert all(one.works for one in looked.values())
    assert await client.dbsize() == 0


@pytest.mark.parametrize("release", ["redis-6.2", "valkey-9.1"])
async def test_a_cluster(release: str) -> None:
    """On a cluster each key of the check is in the slot of the user's key, and none is left on any node."""
    with Cluster(RELEASES[release]) as cluster:
        found = await results(cluster.address)
        assert [one.detail for one in found.values() if not one.works] == []
        for node in cluster.nodes:
            with node.client() as client:
                assert client.keys("*") == []


async def test_one_server_of_several_fails(own_server: Server) -> None:
    """A trigger whose server cannot be reached does not keep those of other servers from being checked."""
    app = App("shop")

    @app.list_trigger(keys="q", connection_string="127.0.0.1:1")
    async def gone(message: RedisMessage) -> None: ...

    @app.list_trigger(keys="q")
    async def there(message: RedisMessage) -> None: ...

    found = await results(own_server.address, app)
    assert {name: one.works for name, one in found.items()} == {"gone": False, "there": True}
    assert "refused" in found["gone"].detail
