"""Servers on this machine that connection strings in metadata reach as if they were remote."""

import contextlib
import socket
from collections.abc import Callable
from typing import Any

import redis
from grpc import StatusCode

from scaler.measuring.samplers import CONCEALED
from tests.servers.catalogue import RELEASES
from tests.support.running_scaler import RunningScaler, failure
from triggerfish.testing.server import Server

__all__ = [
    "ALLOWED",
    "HERE",
    "LOOPBACK",
    "FakeResolver",
    "asking",
    "concealed",
    "connections",
    "outside_address",
    "start",
]

#: Names that only the resolver of these tests resolves.
HERE = "a.cache.example"
LOOPBACK = "loopback.cache.example"
ALLOWED = {"allowed_hosts": ["*.cache.example"], "bound_seconds": 0.5}


def outside_address() -> str:
    """Return the address that this machine sends from: neither loopback nor link-local."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("198.51.100.1", 9))  # sends nothing
        address: str = probe.getsockname()[0]
        return address


class FakeResolver:
    """A resolver with a few additional names, which records the names that it is asked for."""

    def __init__(self, known: dict[str, str], real: Callable[..., Any]) -> None:
        self.known = known
        self.asked: list[str] = []
        self._real = real

    def getaddrinfo(self, host: str, *arguments: Any, **options: Any) -> Any:
        """Resolve like socket.getaddrinfo."""
        self.asked.append(host)
        if host.endswith(".example") and host not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return self._real(self.known.get(host, host), *arguments, **options)


def start(address: str, *arguments: str) -> Server:
    """Start a server that also listens on `address`."""
    server = RELEASES["valkey-9.1"].start("--bind", "127.0.0.1", address, "--protected-mode", "no", *arguments)
    with server.client() as client, contextlib.suppress(redis.ResponseError):
        client.rpush("orders", "x")
    return server


def asking(string: str) -> dict[str, str]:
    """Return the metadata of a list trigger with its own connection string."""
    return {"type": "redisListTrigger", "keys": "orders", "connectionStringFromEnv": string}


def connections(server: Server) -> int:
    """Return the number of the scaler's connections to a server."""
    with server.client() as client:
        return sum(one["name"] == "triggerfish:scaler" for one in client.client_list())


async def concealed(scaler: RunningScaler, string: str) -> None:
    """Assert that calls fail with the generic message that conceals the cause, and that GetMetricSpec succeeds."""
    for call in (scaler.keda.target, scaler.keda.active):
        with failure(StatusCode.UNAVAILABLE) as caught:
            await call(asking(string))
        assert caught.details == CONCEALED
    assert (await scaler.keda.spec(asking(string))).targetSize == 1
