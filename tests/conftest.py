"""Fixtures: real servers by release, clients, hosts that run while a test looks on."""

import asyncio
import contextlib
import functools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

# As in scaler.server, but before any test imports grpc: a server that is started while gRPC has threads can fail.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import hypothesis
import pytest
import redis.asyncio
from pydantic import SecretStr

from listeners import App, Host
from listeners.connections.named import Connections
from listeners.connections.strings import parse_connection_string
from listeners.redis.client import Client
from listeners.settings import HostSettings
from tests.servers.catalogue import RELEASES, available, present
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

RunHost = Callable[..., AbstractAsyncContextManager[Host]]

# How long an example takes says nothing on a busy machine.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

_running: dict[str, Server] = {}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "releases(*names): run on these server releases only, instead of on all")


def pytest_report_header() -> str:
    return f"servers: {', '.join(available())}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `server` runs once on every release, or on those of its `releases` mark."""
    if "server" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("releases")
        wanted = mark.args if mark else tuple(RELEASES)
        metafunc.parametrize("server", present(*wanted), indirect=True)


@pytest.fixture(scope="session", autouse=True)
def _stop_servers() -> Iterator[None]:
    yield
    for server in _running.values():
        server.stop()


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Server:
    """A running server of the release, empty and with its usual settings; shared by the tests of one process."""
    name: str = request.param
    if name not in _running:
        _running[name] = RELEASES[name].start()
    client = _running[name].client()
    client.flushall()
    client.config_set("notify-keyspace-events", "")
    client.close()
    return _running[name]


@pytest.fixture
def version(request: pytest.FixtureRequest, server: Server) -> tuple[int, ...]:
    """The Redis version whose commands the server has."""
    name: str = request.node.callspec.params["server"]
    return RELEASES[name].version if name.startswith("redis") else (7, 2, 4)


@pytest.fixture
async def client(server: Server) -> AsyncIterator[redis.asyncio.Redis]:
    """A plain client of the test's own; its answers are bytes."""
    async with redis.asyncio.Redis(port=server.port, protocol=2) as connected:
        yield connected


@pytest.fixture
async def ours(server: Server) -> AsyncIterator[Client]:
    """A client as listeners and the scaler have it."""
    connected = Client(parse_connection_string(server.address), "test")
    yield connected
    await connected.aclose()


class Addressed(Protocol):
    """What a host can run on: a server, a cluster, Sentinels."""

    @property
    def address(self) -> str: ...


@contextlib.asynccontextmanager
async def running_host(
    server: Addressed, app: App, *, instance: str | None = None, ready: bool = True, **settings: object
) -> AsyncIterator[Host]:
    """The app, run in this process on a server; drained after the block. `ready`: begin the block when it is ready.

    The other keyword arguments are HostSettings.
    """
    app.name = app.name or "test"
    host = Host(app, Connections(SecretStr(server.address)), HostSettings.model_validate(settings), instance=instance)
    running = asyncio.create_task(host.run())
    try:
        await eventually(lambda: host.ready or not ready or running.done())
        yield host
    finally:
        host.drain()
        async with asyncio.timeout(30):
            await running


@pytest.fixture
def run_host(server: Server) -> RunHost:
    """`async with run_host(app) as host:` is `running_host` on the test's server."""
    return functools.partial(running_host, server)


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off between deliveries is short, so that a test need not wait for seconds."""
    monkeypatch.setattr("listeners.engine.retry_policy.FIRST_RETRY_SECONDS", 0.02)


@pytest.fixture
def quick_reclaims(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams look often for entries that nobody holds any more."""
    monkeypatch.setattr("listeners.streams.source.RECLAIM_SECONDS", 0.02)
