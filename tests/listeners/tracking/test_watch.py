"""Armed keys end with the first change of one of them, on every release with client tracking."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import redis.asyncio

from tests.listeners.tracking.watching import watching
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

RELEASES = ("redis-6.0", "redis-6.2", "redis-7.0", "redis-7.2", "redis-7.4", "redis-8.2", "valkey-8.1", "valkey-9.1")
pytestmark = pytest.mark.releases(*RELEASES)

CHANGES: dict[str, Callable[[redis.asyncio.Redis], Awaitable[Any]]] = {
    "RPUSH": lambda client: client.rpush("missing", "x"),
    "XADD": lambda client: client.xadd("missing", {"a": "b"}),
    "LPOP": lambda client: client.lpop("list"),
    "LMOVE": lambda client: client.rpoplpush("list", "other"),
    "XDEL": lambda client: client.xdel("stream", "1-0"),
    "XTRIM": lambda client: client.xtrim("stream", maxlen=0, approximate=False),
    "DEL": lambda client: client.delete("list"),
    "RENAME": lambda client: client.rename("list", "other"),
    "expiry": lambda client: client.pexpire("list", 1),
    "FLUSHALL": lambda client: client.flushall(),
    "in a transaction": lambda client: client.transaction(lambda pipeline: pipeline.rpush("missing", "x")),
    "in a script": lambda client: client.eval("redis.call('RPUSH', KEYS[1], 'x')", 1, "missing"),
    "in another database": lambda client: client.execute_command("SELECT", 3),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_ends_the_keys(server: Server, client: redis.asyncio.Redis, change: str) -> None:
    """Whatever changes an armed key, also one that does not exist, ends all that contain it, once and at once."""
    await client.rpush("list", "a", "b")
    await client.xadd("stream", {"a": "b"}, id="1-0")
    async with watching(server.address) as found:
        armed = await found.relied_on("missing", "list", "stream")
        kept = await found.relied_on("unchanged")
        ends: list[None] = []
        armed.on_end(lambda: ends.append(None))
        await CHANGES[change](client)
        if change == "in another database":  # the same name there
            async with redis.asyncio.Redis(port=server.port, db=3, protocol=2) as there:
                await there.rpush("list", "x")
        await eventually(lambda: armed.ended, seconds=5)
        assert ends == [None]
        assert armed.proved_at is None
        assert kept.ended == (change == "FLUSHALL")
        assert not found.untold


async def test_a_server_proves_itself(server: Server, client: redis.asyncio.Redis) -> None:
    """A key of Triggerfish's own proves that changes are reported, and does not stay; proofs are renewed."""
    async with watching(server.address) as found:
        armed = await found.relied_on("orders")
        assert await client.keys("*") == []
        first = armed.proved_at
        assert first is not None
        assert time.monotonic() - first < 3
        await eventually(lambda: armed.proved_at is not None and armed.proved_at > first)
        assert not armed.ended


async def test_without_the_right_to_set_a_key_the_first_change_is_the_proof(
    server: Server, client: redis.asyncio.Redis
) -> None:
    """A user who only reads relies on the server after it has reported any change."""
    rule = ("on", ">pw", "~*", "-@all", "+exists", "+client", "+info", "+hello")
    await client.execute_command("ACL", "SETUSER", "reader", "reset", *rule)
    async with watching(f"{server.address},user=reader,password=pw") as found:
        waits = await found.armed("orders")
        await found.armed("payments")
        assert waits.proved_at is None
        await client.rpush("orders", "x")
        await eventually(lambda: waits.ended)
        assert await found.relied_on("orders", "payments")
    await client.execute_command("ACL", "DELUSER", "reader")


async def test_a_lost_connection_ends_all_keys(server: Server, client: redis.asyncio.Redis) -> None:
    """What was armed on a connection ends with it, and can be armed again on the next."""
    async with watching(server.address) as found:
        armed = await found.relied_on("orders")
        for one in await client.client_list():
            if one["name"] == "test:tracking":
                await client.client_kill_filter(_id=one["id"])
        await eventually(lambda: armed.ended, seconds=5)
        again = await found.relied_on("orders")
        await client.rpush("orders", "x")
        await eventually(lambda: again.ended, seconds=5)


async def test_a_released_key_is_not_waited_for(server: Server, client: redis.asyncio.Redis) -> None:
    """Releasing ends the keys for this reader only."""
    async with watching(server.address) as found:
        first, second = await found.relied_on("orders"), await found.relied_on("orders")
        found.watch.release(first)
        assert first.ended
        assert not second.ended
        await client.rpush("orders", "x")
        await eventually(lambda: second.ended, seconds=5)


async def test_a_change_between_arming_and_reading(server: Server, client: redis.asyncio.Redis) -> None:
    """Keys are armed when arm() returns: every later change ends them, however it is interleaved."""
    async with watching(server.address) as found:
        await found.relied_on("orders")
        for number in range(50):
            armed, _ = await asyncio.gather(found.armed(f"k{number}"), client.rpush(f"k{number}", "x"))
            length = await client.llen(f"k{number}")
            assert length == 1
            await client.rpush(f"k{number}", "y")
            await eventually(partial(getattr, armed, "ended"), seconds=5)


@pytest.mark.releases("valkey-9.1")
async def test_more_keys_than_the_server_remembers(own_server: Server) -> None:
    """Beyond tracking-table-max-keys the server ends keys at random, and no change is missed."""
    with own_server.client() as admin:
        admin.config_set("tracking-table-max-keys", 100)
        async with watching(own_server.address) as found:
            await found.relied_on("orders")
            armed = await found.watch.arm([(f"k{number}",) for number in range(1_000)])
            await eventually(lambda: sum(1 for one in armed if one is not None and not one.ended) <= 150)
            for number in range(1_000):
                admin.rpush(f"k{number}", "x")
            await eventually(lambda: all(one is None or one.ended for one in armed))
