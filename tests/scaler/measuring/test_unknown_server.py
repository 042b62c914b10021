"""A server that does not report its version: it denies INFO, or has no such command (fakeredis)."""

import threading
from collections.abc import AsyncIterator

import pytest
import redis.asyncio
from fakeredis import TcpFakeServer

from listeners.connections.spec import ConnectionSpec
from listeners.connections.strings import parse_connection_string
from listeners.functions.triggers import StreamTrigger
from listeners.redis.client import Client
from listeners.redis.server_info import ServerInfo
from scaler.measuring.backlog import Backlog
from scaler.measuring.lag import Lag
from scaler.triggers.measured_trigger import MeasuredTrigger
from tests.support.measuring import measure_now
from triggerfish.testing.server import Server


@pytest.mark.releases("redis-6.2", "redis-7.2", "valkey-9.1")
async def test_it_is_treated_as_the_oldest_version(server: Server, client: redis.asyncio.Redis) -> None:
    """Only features of the oldest supported version are used: the lag is not trusted, and entries are counted."""
    await client.execute_command("ACL", "SETUSER", "limited", "on", ">pw", "~*", "+@all", "-info")
    for number in range(1, 11):
        await client.xadd("s", {"f": "v"}, id=f"{number}-0")
    await client.xgroup_create("s", "g", "4-0")
    await client.xdel("s", "7-0")
    limited = Client(parse_connection_string(f"{server.address},user=limited,password=pw"), "test")
    measured = MeasuredTrigger(StreamTrigger(keys=("s",), consumer_group="g"))
    try:
        info = await limited.server()
        assert info == ServerInfo()
        assert not info.supports(6, 2)
        found = (await measure_now(limited, [measured]))[measured]
    finally:
        await limited.aclose()
        await client.execute_command("ACL", "DELUSER", "limited")
    assert isinstance(found, Backlog)
    assert found.keys[0].lag == Lag(5, "counted")


@pytest.fixture
async def without_info() -> AsyncIterator[Client]:
    """A client of a server that has no INFO."""
    server = TcpFakeServer(("127.0.0.1", 0))
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    client = Client(ConnectionSpec("127.0.0.1", server.server_address[1]), "test")
    try:
        yield client
    finally:
        await client.aclose()
        server.shutdown()
        serving.join()
        server.server_close()


async def test_a_server_without_info(without_info: Client) -> None:
    """A server that does not know INFO is treated as the oldest version too."""
    assert await without_info.server() == ServerInfo()
