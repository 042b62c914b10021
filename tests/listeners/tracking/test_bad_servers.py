"""Servers and proxies that do not do what tracking needs: keys end, nothing is relied on, and nothing hangs."""

import asyncio

import pytest
import redis.asyncio

from listeners.tracking.armed import Armed
from tests.listeners.tracking.watching import Watching, watching
from tests.support.network.unruly_link import unruly_link
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("redis-6.0", "redis-7.2", "valkey-9.1")

GARBAGE = {
    "a reply to no command": b"+OK\r\n",
    "no RESP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a bulk of 2 GB": b"$2000000000\r\n" + 5_000_000 * b"x",
    "a line without an end": b"+" + 5_000_000 * b"x",
    "a report of a number": b">2\r\n$10\r\ninvalidate\r\n:5\r\n",
    "a report without keys": b">1\r\n$10\r\ninvalidate\r\n",
    "an array of two billion": b"*2000000000\r\n",
    "nested arrays": b"*1\r\n" * 20,
}


@pytest.fixture(autouse=True)
def _again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once what would be tried again after minutes."""
    monkeypatch.setattr("listeners.tracking.watch.DENIED_SECONDS", 0.01)


async def still_works(found: Watching, client: redis.asyncio.Redis) -> None:
    """Assert that keys can be armed again, and end with a change."""
    again = await found.relied_on("orders")
    await client.rpush("orders", "x")
    await eventually(lambda: again.ended, seconds=5)


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_garbage(
    server: Server, client: redis.asyncio.Redis, garbage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data that no server sends ends the connection and all its keys; the next one is used."""
    monkeypatch.setattr("listeners.tracking.node.ANSWER_SECONDS", 1.0)
    async with unruly_link(server.port) as link, watching(link.address) as found:
        armed = await found.relied_on("orders")
        assert link.send(GARBAGE[garbage], tracking=True) == 1
        await eventually(lambda: armed.ended, seconds=10)
        await still_works(found, client)
        assert not found.untold


async def test_a_huge_array(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused with its header, before memory is taken for its elements, which would take seconds to free."""
    monkeypatch.setattr("listeners.tracking.node.ANSWER_SECONDS", 3600.0)
    async with unruly_link(server.port) as link, watching(link.address) as found:
        armed = await found.relied_on("orders")
        assert link.send(b"*100000\r\n", tracking=True) == 1
        await eventually(lambda: armed.ended)


async def test_a_server_that_is_late(
    server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without proofs nothing is relied on, arming does not wait, and the connection is replaced."""
    monkeypatch.setattr("listeners.tracking.node.MAX_PROOF_AGE_SECONDS", 1.5)
    monkeypatch.setattr("listeners.tracking.node.ANSWER_SECONDS", 3.0)
    async with unruly_link(server.port) as link, watching(link.address) as found:
        armed = await found.relied_on("orders")
        link.hold(tracking=True)
        await client.rpush("orders", "x")
        await eventually(lambda: armed.proved_at is None)
        async with asyncio.timeout(2):
            assert await found.watch.arm([("payments",)]) == [None]
        await eventually(lambda: armed.ended)
        link.release(tracking=True)
        await still_works(found, client)
        assert not found.untold


async def test_tracking_that_is_accepted_and_silent(server: Server) -> None:
    """A proxy that answers OK and reports nothing is found out by the key that is set, before anything is relied on."""
    async with unruly_link(server.port, silent=True) as link, watching(link.address) as found:
        armed: list[Armed] = []

        async def found_out() -> bool:
            armed.extend(one for one in await found.watch.arm([("orders",)]) if one is not None)
            return bool(found.untold)

        await eventually(found_out)
        assert armed
        assert all(one.ended and one.proved_at is None for one in armed)
        assert await found.watch.arm([("orders",)]) == [None]


async def test_tracking_that_becomes_silent(server: Server, client: redis.asyncio.Redis) -> None:
    """A change that is found without a report turns tracking off."""
    async with watching(server.address) as found:
        armed = await found.relied_on("orders")
        await found.watch.judge(armed)  # as if it had been found changed
        assert len(found.untold) == 1
        assert armed.ended
        assert await found.watch.arm([("orders",)]) == [None]


async def test_a_change_whose_report_is_on_its_way(server: Server, client: redis.asyncio.Redis) -> None:
    """A change that is found before its report arrives is no untold one."""
    async with unruly_link(server.port) as link, watching(link.address) as found:
        armed = await found.relied_on("orders")
        link.hold(tracking=True)
        await client.rpush("orders", "x")
        judging = asyncio.create_task(found.watch.judge(armed))
        await asyncio.sleep(0)
        link.release(tracking=True)
        await judging
        assert armed.ended
        assert not found.untold


@pytest.mark.releases("redis-5.0")
async def test_a_server_without_tracking(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Redis 5 refuses RESP3, which is logged: nothing is armed."""
    caplog.set_level("INFO", "triggerfish.tracking")
    async with watching(server.address) as found:
        assert await found.watch.arm([("orders",)]) == [None]
        await eventually(lambda: "unknown command" in caplog.text)
        assert await found.watch.arm([("orders",)]) == [None]
