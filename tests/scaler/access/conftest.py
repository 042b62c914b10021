"""Fixtures: servers for connection strings in metadata, and a resolver for their names."""

import socket
from collections.abc import Iterator

import pytest

from tests.servers.catalogue import ALL_REQUIRED
from tests.support.network.outside_servers import HERE, LOOPBACK, FakeResolver, outside_address, start
from triggerfish.testing.server import Server


@pytest.fixture
def address() -> str:
    """An address of this machine that other machines can reach."""
    try:
        return outside_address()
    except OSError:
        no_network = "this machine has no network: all its addresses would be refused"
        if ALL_REQUIRED:
            pytest.fail(no_network)  # in CI a skipped test does not count as passed
        pytest.skip(no_network)


@pytest.fixture
def names(address: str, monkeypatch: pytest.MonkeyPatch) -> FakeResolver:
    """The resolver of this process, with a few names added."""
    known = {
        HERE: address,
        "b.cache.example": address,
        LOOPBACK: "127.0.0.1",
        "loopback6.cache.example": "::1",
        "mapped.cache.example": "::ffff:127.0.0.1",
        "link.cache.example": "169.254.169.254",
        "any.cache.example": "0.0.0.0",
    }
    names = FakeResolver(known, socket.getaddrinfo)
    monkeypatch.setattr("socket.getaddrinfo", names.getaddrinfo)
    return names


@pytest.fixture
def reachable(address: str) -> Iterator[Server]:
    """A server that also listens on this machine's outside address, with one element in `orders`."""
    with start(address) as server:
        yield server
