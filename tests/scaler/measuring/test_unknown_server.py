"""A server that does not report its version: here fakeredis, which has no INFO."""

import threading
from collections.abc import AsyncIterator

import pytest
from fakeredis import TcpFakeServer

from listeners.connections.spec import ConnectionSpec
from listeners.functions.triggers import StreamTrigger
from listeners.redis.client import Client
from listeners.redis.server_info import ServerInfo
from scaler.measuring.backlog import Backlog
from scaler.measuring.counting import CountCache
from scaler.measuring.measure import measure
from scaler.triggers.measured_trigger import MeasuredTrigger


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """A client of such a server."""
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


async def test_it_is_treated_as_the_oldest_version(client: Client) -> None:
    """Without INFO only features of the oldest supported version are used."""
    server = await client.server()
    assert server == ServerInfo()
    assert not server.supports(6, 2)


async def test_its_lag_is_counted(client: Client) -> None:
    """The lag of such a server is not trusted, and its undelivered entries are counted."""
    for number in range(1, 11):
        await client.command("s", "XADD", "s", f"{number}-0", "f", "v", doing="adding")
    await client.command("s", "XGROUP", "CREATE", "s", "g", "4-0", doing="creating the group")
    await client.command("s", "XDEL", "s", "7-0", doing="deleting")
    measured = MeasuredTrigger(StreamTrigger(keys=("s",), consumer_group="g"))
    found = (await measure(client, ServerInfo(), [measured], CountCache()))[measured]
    assert isinstance(found, Backlog)
    assert found.entries == 5
