"""Fixtures: real servers by release, clients, and hosts and scalers that run during a test."""

import functools
import os
import signal
from collections.abc import AsyncIterator, Iterator

# As in scaler.server, but before any test imports grpc: a process that is started while gRPC has threads can fail.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import hypothesis
import pytest
import redis.asyncio

from listeners.connections.strings import parse_connection_string
from listeners.redis.client import Client
from tests.servers.catalogue import RELEASES, available, present
from tests.support.running_host import RunHost, running_host
from tests.support.running_scaler import RunningScaler, running_scaler
from triggerfish.testing.server import Server

# The duration of an example means nothing on a busy machine.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

_running: dict[str, Server] = {}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "releases(*names): run on these server releases only, instead of all")


def pytest_report_header() -> str:
    return f"servers: {', '.join(available())}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses `server` once on every release, or on the releases of its `releases` mark."""
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
    """A running server of the release, empty and with default settings; shared by the tests of one process."""
    name: str = request.param
    if name not in _running:
        _running[name] = RELEASES[name].start()
    client = _running[name].client()
    client.flushall()
    client.config_set("notify-keyspace-events", "")
    client.close()
    return _running[name]


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A separate server, which the test may kill or suspend."""
    server = RELEASES["valkey-9.1"].start()
    yield server
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGCONT)
    server.stop()


@pytest.fixture
async def scaler(server: Server) -> AsyncIterator[RunningScaler]:
    """A running scaler whose default Redis is the test's server."""
    async with running_scaler(server) as running:
        yield running


@pytest.fixture
def version(request: pytest.FixtureRequest, server: Server) -> tuple[int, ...]:
    """The Redis version whose commands the server supports."""
    name: str = request.node.callspec.params["server"]
    return RELEASES[name].version if name.startswith("redis") else (7, 2, 4)


@pytest.fixture
async def client(server: Server) -> AsyncIterator[redis.asyncio.Redis]:
    """A plain client that does not decode replies."""
    async with redis.asyncio.Redis(port=server.port, protocol=2) as connected:
        yield connected


@pytest.fixture
async def ours(server: Server) -> AsyncIterator[Client]:
    """Triggerfish's own client."""
    connected = Client(parse_connection_string(server.address), "test")
    yield connected
    await connected.aclose()


@pytest.fixture
def run_host(server: Server) -> RunHost:
    """`running_host` on the test's server: `async with run_host(app) as host:`."""
    return functools.partial(running_host, server)


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the back-off between deliveries, so that tests need not wait for seconds."""
    monkeypatch.setattr("listeners.engine.retry_policy.FIRST_RETRY_SECONDS", 0.02)


@pytest.fixture
def quick_reclaims(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the interval at which streams claim abandoned entries."""
    monkeypatch.setattr("listeners.streams.source.RECLAIM_SECONDS", 0.02)
