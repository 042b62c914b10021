"""Fixtures: servers that a test may kill, and scalers."""

import signal
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.servers.catalogue import ALL_REQUIRED, RELEASES
from tests.support.outside_servers import HERE, LOOPBACK, Names, outside_address, start
from tests.support.programs import collectable
from tests.support.running_scaler import Running, running_scaler
from triggerfish.testing.server import Server

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


@pytest.fixture
def address() -> str:
    """An address of this machine that others reach it by."""
    try:
        return outside_address()
    except OSError:
        no_network = "this machine has no network: all of its addresses would be refused"
        if ALL_REQUIRED:
            pytest.fail(no_network)  # where CI runs, a skipped test is not a passed one
        pytest.skip(no_network)


@pytest.fixture
def names(address: str, monkeypatch: pytest.MonkeyPatch) -> Names:
    """The resolver of this process."""
    known = {
        HERE: address,
        "b.cache.example": address,
        LOOPBACK: "127.0.0.1",
        "loopback6.cache.example": "::1",
        "mapped.cache.example": "::ffff:127.0.0.1",
        "link.cache.example": "169.254.169.254",
        "any.cache.example": "0.0.0.0",
    }
    names = Names(known, socket.getaddrinfo)
    monkeypatch.setattr("socket.getaddrinfo", names.getaddrinfo)
    return names


@pytest.fixture
def reachable(address: str) -> Iterator[Server]:
    """A server that listens on this machine's outside address too, with one element in `orders`."""
    with start(address) as server:
        yield server
