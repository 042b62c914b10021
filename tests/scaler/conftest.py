"""Fixtures: servers that a test may kill, and scalers."""

import signal
from collections.abc import AsyncIterator, Iterator

import pytest

from examples.demo.server import Server
from tests.scaler.serving import Running, running_scaler
from tests.servers.catalogue import RELEASES


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server of the test's own, which it may kill or suspend."""
    server = RELEASES["valkey-9.1"].start()
    yield server
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGCONT)
    server.stop()


@pytest.fixture
async def scaler(server: Server) -> AsyncIterator[Running]:
    """A running scaler whose default Redis is the test's server."""
    async with running_scaler(server) as running:
        yield running
