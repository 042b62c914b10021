"""Connection strings in metadata, where the operator allows some hosts."""

import contextlib
import logging
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from grpc import StatusCode
from redis.crc import key_slot

from examples.demo.server import Server, free_port
from listeners.errors import ConfigurationError
from scaler.settings import load_settings
from scaler.strings import CONCEALED
from tests.scaler.serving import Running, failure, running_scaler
from tests.servers.catalogue import RELEASES
from tests.waiting import eventually

SECRET = "hunter2"
#: Names that only these tests' resolver knows.
HERE = "a.cache.example"
LOOPBACK = "loopback.cache.example"
ALLOWED = {"allowed_hosts": ["*.cache.example"], "bound_seconds": 0.5}


def outside_address() -> str:
    """The address that this machine would send from: neither loopback nor link-local."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("198.51.100.1", 9))  # sends nothing
        address: str = probe.getsockname()[0]
        return address


@pytest.fixture
def address() -> str:
    """An address of this machine that others reach it by."""
    try:
        return outside_address()
    except OSError:
        pytest.skip("this machine has no network: all of its addresses would be refused")


class Names:
    """A resolver that knows a few names, and remembers what was asked."""

    def __init__(self, known: dict[str, str], real: Callable[..., Any]) -> None:
        self.known = known
        self.asked: list[str] = []
        self._real = real

    def getaddrinfo(self, host: str, *arguments: Any, **options: Any) -> Any:
        """As socket.getaddrinfo."""
        self.asked.append(host)
        if host.endswith(".example") and host not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return self._real(self.known.get(host, host), *arguments, **options)


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


def start(address: str, *arguments: str) -> Server:
    """A server that listens on an address too."""
    server = RELEASES["valkey-9.1"].start("--bind", "127.0.0.1", address, "--protected-mode", "no", *arguments)
    with server.client() as client, contextlib.suppress(redis.ResponseError):
        client.rpush("orders", "x")
    return server


def asking(string: str) -> dict[str, str]:
    """Metadata of a list, on a Redis of its own choosing."""
    return {"type": "redisListTrigger", "keys": "orders", "connectionStringFromEnv": string}


def connections(server: Server) -> int:
    """How many connections the scaler has to a server."""
    with server.client() as client:
        return sum(one["name"] == "triggerfish:scaler" for one in client.client_list())


async def concealed(scaler: Running, string: str) -> None:
    """Each call is answered with the one text, and GetMetricSpec as ever."""
    for ask in (scaler.keda.target, scaler.keda.active):
        with failure(StatusCode.UNAVAILABLE) as caught:
            await ask(asking(string))
        assert caught.details == CONCEALED
    assert (await scaler.keda.spec(asking(string))).targetSize == 1


@pytest.mark.usefixtures("names")
async def test_an_allowed_host(reachable: Server, address: str) -> None:
    """A string whose host is allowed, by name or by network, is measured; activation is pushed too."""
    networks = {"allowed_hosts": ["*.cache.example", f"{address}/32"]}
    async with running_scaler(scaler=networks) as scaler:
        for host in (HERE, address):
            for string in (f"{host}:{reachable.port}", f"redis://{host}:{reachable.port}/0"):
                assert await scaler.keda.target(asking(string)) == 1
        async with scaler.keda.activity(asking(f"{HERE}:{reachable.port}")) as stream:
            await eventually(lambda: stream.said == [True])


@pytest.mark.parametrize(
    "string",
    [
        "elsewhere.example:{port},password={secret}",
        "cache.example:{port}",
        HERE + ".evil.example:{port}",
        "127.0.0.1:{port}",
        "localhost:{port}",
        "[::1]:{port}",
        "redis://",
        "unix:///r.sock",
        "unix://ann:{secret}@/r.sock",
        HERE + ":{port},elsewhere.example:{port}",
        HERE + ":{port},elsewhere.example,serviceName=main",
    ],
)
async def test_other_hosts(reachable: Server, names: Names, string: str) -> None:
    """Any other host, and a unix socket, is PERMISSION_DENIED with one text; nobody looks it up or connects to it."""
    string = string.format(port=reachable.port, secret=SECRET)
    async with running_scaler(scaler=ALLOWED) as scaler:
        names.asked.clear()
        seen = set()
        for ask in (scaler.keda.target, scaler.keda.active):
            with failure(StatusCode.PERMISSION_DENIED, "connectionString", "scaler.allowed_hosts") as caught:
                await ask(asking(string))
            seen.add(caught.details)
        assert len(seen) == 1
        assert SECRET not in seen.pop()
        async with scaler.keda.activity(asking(string)) as stream:
            assert await stream.code() == StatusCode.PERMISSION_DENIED
        assert (await scaler.keda.spec(asking(string))).targetSize == 1
        assert not [host for host in names.asked if host.endswith(".example")]
        assert connections(reachable) == 0


@pytest.mark.parametrize("option", ["ssl_cert_reqs=none", "ssl_ca_certs=/etc/hosts", "password_file=/etc/hosts"])
async def test_options_that_reach_further(option: str) -> None:
    """Files and weaker TLS cannot be asked for by a string, in either form."""
    async with running_scaler(scaler=ALLOWED) as scaler:
        for string in (f"{HERE}:1,ssl=True,{option}", f"rediss://{HERE}:1?{option}"):
            with failure(StatusCode.FAILED_PRECONDITION, "connection_string") as caught:
                await scaler.keda.target(asking(string))
            assert "/etc/hosts" not in caught.details


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize("name", ["loopback", "loopback6", "mapped", "link", "any"])
async def test_names_that_lead_to_this_machine(reachable: Server, name: str) -> None:
    """An allowed name that resolves to loopback or link-local addresses is not connected to, and not told apart."""
    async with running_scaler(scaler=ALLOWED) as scaler:
        await concealed(scaler, f"{name}.cache.example:{reachable.port}")
        assert connections(reachable) == 0


async def test_this_machines_network_is_refused_too(reachable: Server) -> None:
    """Loopback stays refused where an operator's network has it."""
    async with running_scaler(scaler={"allowed_hosts": ["0.0.0.0/0", "::/0"]}) as scaler:
        for host in ("127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"):
            await concealed(scaler, f"{host}:{reachable.port}")
        assert connections(reachable) == 0


@pytest.mark.usefixtures("names")
async def test_what_is_reachable_is_not_told(reachable: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Unknown names, closed ports, what hangs, wrong passwords and wrong types are one text, and nowhere a secret."""
    caplog.set_level(logging.DEBUG, "triggerfish")
    with reachable.client() as client:
        client.set("text", "x")
        client.acl_setuser("ann", enabled=True, passwords=["+another"], keys=["*"], commands=["+@all"])
    strings = {
        "unknown": f"unknown.cache.example:{reachable.port},password={SECRET}",
        "closed": f"{HERE}:{free_port()},password={SECRET}",
        "denied": f"{HERE}:{reachable.port},user=ann,password={SECRET}",
        "tls": f"rediss://ann:{SECRET}@{HERE}:{reachable.port}",
    }
    async with running_scaler(scaler=ALLOWED) as scaler:
        for string in strings.values():
            await concealed(scaler, string)
        with failure(StatusCode.UNAVAILABLE) as caught:
            await scaler.keda.target({**asking(f"{HERE}:{reachable.port}"), "keys": "text"})
        assert caught.details == CONCEALED
        _, metrics = await scaler.get("/metrics")
        _, page = await scaler.get("/api/v1/triggers")
        assert "not known" not in page
        assert '"reason": "unavailable"' in page
        assert 'triggerfish_sample_errors_total{reason="unavailable"}' in metrics
        assert not [other for other in ("timeout", "access_denied", "wrong_type") if other in metrics + page]
        shown = (caplog.text, metrics, page, repr(scaler.server.evaluator.__dict__))
        assert not any(SECRET in one for one in shown)
        assert "invalid username-password" in caplog.text  # the operator can see why


@pytest.mark.usefixtures("names")
async def test_their_number_is_bounded(reachable: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many strings only so many stay connected, and none of the operator's own connections gives way."""
    monkeypatch.setattr("scaler.strings.MAX_SERVERS", 2)
    async with running_scaler(reachable, scaler=ALLOWED) as scaler:
        own = {"type": "redisListTrigger", "keys": "orders"}
        assert await scaler.keda.target(own) == 1
        for database in range(8):
            await scaler.keda.target(asking(f"{HERE}:{reachable.port},defaultDatabase={database}"))
        await eventually(lambda: connections(reachable) == 3)
        assert await scaler.keda.target(own) == 1


@pytest.mark.usefixtures("names")
async def test_idle_ones_are_closed(reachable: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A string that nobody asks about is disconnected, and connected again when somebody does."""
    monkeypatch.setattr("scaler.server.LOOK_SECONDS", 0.02)
    monkeypatch.setattr("scaler.strings.IDLE_SECONDS", 0.1)
    async with running_scaler(scaler=ALLOWED) as scaler:
        string = f"{HERE}:{reachable.port}"
        assert await scaler.keda.target(asking(string)) == 1
        await eventually(lambda: connections(reachable) == 0)
        assert await scaler.keda.target(asking(string)) == 1


async def test_sentinels_that_lead_elsewhere(reachable: Server, names: Names, address: str) -> None:
    """The primary that allowed Sentinels name must be allowed itself: here it is loopback, then this machine."""
    with sentinel(address, reachable) as watching, watching.client() as client:
        async with running_scaler(scaler={"allowed_hosts": ["*.cache.example", address]}) as scaler:
            string = f"{HERE}:{watching.port},serviceName=main"
            await concealed(scaler, string)
            assert connections(reachable) == 0
            client.execute_command("SENTINEL", "REMOVE", "main")
            client.execute_command("SENTINEL", "MONITOR", "main", address, reachable.port, 1)
            await eventually(lambda: measured(scaler, string))


@contextlib.contextmanager
def sentinel(address: str, watched: Server) -> Iterator[Server]:
    """A Sentinel on an address that names a server by its loopback address."""
    with tempfile.TemporaryDirectory(prefix="triggerfish-sentinel-") as folder:
        file = Path(folder, "sentinel.conf")
        file.write_text(f"sentinel monitor main 127.0.0.1 {watched.port} 1\nprotected-mode no\n")
        binary = RELEASES["valkey-9.1"].binary
        assert binary is not None
        with Server(binary, "--bind", "127.0.0.1", address, "--sentinel", configuration=file) as watching:
            yield watching


async def measured(scaler: Running, string: str) -> bool:
    """Whether a string can be measured by now."""
    with contextlib.suppress(Exception):
        return await scaler.keda.target(asking(string)) == 1
    return False


CLUSTER = ("--cluster-enabled", "yes", "--cluster-preferred-endpoint-type", "hostname")


async def test_clusters_that_lead_elsewhere(names: Names, address: str) -> None:
    """Nodes that CLUSTER SLOTS or MOVED names must be allowed themselves; others are not even looked up."""
    with start(address, *CLUSTER) as first, start(address, *CLUSTER) as second:
        await form_cluster(first, second)
        string = f"{HERE}:{first.port}"
        async with running_scaler(scaler=ALLOWED) as scaler:
            await eventually(lambda: measured(scaler, string))  # all slots are with the first, whose name is allowed
            move_orders(first, second)  # MOVED names the second
            await eventually_concealed(scaler, string)
        async with running_scaler(scaler=ALLOWED) as scaler:  # CLUSTER SLOTS names the second from the start
            await concealed(scaler, string)
            assert connections(second) == 0
            assert "elsewhere.example" not in names.asked
            with second.client() as client:
                client.config_set("cluster-announce-hostname", "b.cache.example")
            await eventually(lambda: measured(scaler, string))
            assert connections(second) == 1


async def eventually_concealed(scaler: Running, string: str) -> None:
    """Wait until the string cannot be measured any more, and is concealed then."""

    async def not_measured() -> bool:
        return not await measured(scaler, string)

    await eventually(not_measured)
    await concealed(scaler, string)


async def form_cluster(first: Server, second: Server) -> None:
    """All slots with the first, which goes by an allowed name; the second goes by another one."""
    with first.client() as one, second.client() as other:
        one.config_set("cluster-announce-hostname", HERE)
        other.config_set("cluster-announce-hostname", "elsewhere.example")
        one.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        one.execute_command("CLUSTER", "MEET", "127.0.0.1", second.port)
        await eventually(lambda: "cluster_state:ok" in str(other.execute_command("CLUSTER", "INFO")))
        await eventually(lambda: "elsewhere.example" in str(one.execute_command("CLUSTER", "NODES")))
        one.rpush("orders", "x")


def move_orders(first: Server, second: Server) -> None:
    """Move the slot of `orders`, with the key."""
    with first.client() as one, second.client() as other:
        slot, target = key_slot(b"orders"), other.execute_command("CLUSTER", "MYID")
        one.delete("orders")
        for client in (other, one):
            client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target)
        other.rpush("orders", "x")


@pytest.mark.parametrize("pattern", ["*", "10.*", "cache.*", ""])
def test_patterns(pattern: str) -> None:
    """A pattern that would mean too much is an error at the start that names it."""
    with pytest.raises(ConfigurationError, match=r"^scaler\.allowed_hosts\.0: .*network such as"):
        load_settings(None, scaler={"allowed_hosts": [pattern]})
