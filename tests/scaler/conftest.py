"""Fixtures: servers that a test may kill, and scalers."""

import signal
from collections.abc import AsyncIterator, Iterator

import pytest

from examples.demo.server import Server
from tests.programs import collectable
from tests.scaler.serving import Running, running_scaler
from tests.servers.catalogue import RELEASES

#: What needs a program of the system that is not on this machine.
collect_ignore = [
    file
    for file, needed in {"test_page_in_browser.py": "chromium", "test_promtool.py": "promtool"}.items()
    if not collectable(needed)
]


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
