"""Connection strings in metadata, with hosts that the operator allows."""

import logging

import pytest
from grpc import StatusCode

from listeners.errors import ConfigurationError
from scaler.measuring.samplers import CONCEALED
from scaler.settings import load_settings
from tests.support.network.outside_servers import ALLOWED, HERE, FakeResolver, asking, concealed, connections
from tests.support.running_scaler import failure, running_scaler
from tests.support.waiting import eventually
from triggerfish.testing.server import Server, free_port

SECRET = "hunter2"


@pytest.mark.usefixtures("names")
async def test_an_allowed_host(reachable: Server, address: str) -> None:
    """A connection string with an allowed host, by name or network, is measured, and its activation is pushed."""
    allowed = {"allowed_hosts": ["*.cache.example", f"{address}/32"]}
    async with running_scaler(scaler=allowed) as scaler:
        for host in (HERE, address):
            for string in (f"{host}:{reachable.port}", f"redis://{host}:{reachable.port}/0"):
                assert await scaler.keda.target(asking(string)) == 1
        async with scaler.keda.activity(asking(f"{HERE}:{reachable.port}")) as stream:
            await eventually(lambda: stream.received == [True])


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
        HERE + ":{port},elsewhere.example:26379,serviceName=main",
    ],
)
async def test_other_hosts(reachable: Server, names: FakeResolver, string: str) -> None:
    """Any other host or a Unix socket is PERMISSION_DENIED with one message, and neither resolved nor connected to.

    A stream stays open in silence, since KEDA would double its delay after an error.
    """
    string = string.format(port=reachable.port, secret=SECRET)
    async with running_scaler(scaler=ALLOWED) as scaler:
        names.asked.clear()
        messages = set()
        for call in (scaler.keda.target, scaler.keda.active):
            with failure(StatusCode.PERMISSION_DENIED, "connectionString", "scaler.allowed_hosts") as caught:
                await call(asking(string))
            messages.add(caught.details)
        assert len(messages) == 1
        assert SECRET not in messages.pop()
        async with scaler.keda.activity(asking(string)) as stream:
            await stream.call.initial_metadata()
            assert (await scaler.keda.spec(asking(string))).targetSize == 1
            assert stream.received == []
        assert not [host for host in names.asked if host.endswith(".example")]
        assert connections(reachable) == 0


@pytest.mark.parametrize("option", ["ssl_cert_reqs=none", "ssl_ca_certs=/etc/hosts", "password_file=/etc/hosts"])
async def test_options_that_are_not_allowed(option: str) -> None:
    """A connection string of either form cannot name files or weaken TLS."""
    async with running_scaler(scaler=ALLOWED) as scaler:
        for string in (f"{HERE}:1,ssl=True,{option}", f"rediss://{HERE}:1?{option}"):
            with failure(StatusCode.FAILED_PRECONDITION, "connection_string") as caught:
                await scaler.keda.target(asking(string))
            assert "/etc/hosts" not in caught.details


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize("name", ["loopback", "loopback6", "mapped", "link", "any"])
async def test_names_that_resolve_to_this_machine(reachable: Server, name: str) -> None:
    """An allowed name that resolves to a loopback or link-local address is not connected to, with the usual error."""
    async with running_scaler(scaler=ALLOWED) as scaler:
        await concealed(scaler, f"{name}.cache.example:{reachable.port}")
        assert connections(reachable) == 0


async def test_loopback_is_refused_in_an_allowed_network(reachable: Server) -> None:
    """Loopback addresses are refused even if an allowed network contains them."""
    async with running_scaler(scaler={"allowed_hosts": ["0.0.0.0/0", "::/0"]}) as scaler:
        for host in ("127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"):
            await concealed(scaler, f"{host}:{reachable.port}")
        assert connections(reachable) == 0


@pytest.mark.usefixtures("names")
async def test_errors_do_not_show_what_is_reachable(reachable: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Unknown names, closed ports, wrong passwords, TLS errors and wrong types have one message, without a secret."""
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
        for other in ("timeout", "access_denied", "wrong_type"):
            assert other not in page
            assert f'triggerfish_sample_errors_total{{reason="{other}"}} 0.0' in metrics
        shown = (caplog.text, metrics, page, repr(scaler.server.evaluator.__dict__))
        assert not any(SECRET in one for one in shown)
        assert "invalid username-password" in caplog.text  # the operator can find the reason


@pytest.mark.usefixtures("names")
async def test_the_number_of_servers_is_bounded(reachable: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a bounded number of connection strings stay connected, and they never replace the operator's connections."""
    monkeypatch.setattr("scaler.measuring.samplers.MAX_UNTRUSTED_SERVERS", 2)
    async with running_scaler(reachable, scaler=ALLOWED) as scaler:
        own = {"type": "redisListTrigger", "keys": "orders"}
        assert await scaler.keda.target(own) == 1
        for database in range(8):
            string = f"{HERE}:{reachable.port},defaultDatabase={database}"
            if database < 2:
                await scaler.keda.target(asking(string))
            else:
                with failure(StatusCode.RESOURCE_EXHAUSTED, "connectionString", "'shop'"):
                    await scaler.keda.target(asking(string))
        await eventually(lambda: connections(reachable) == 3)
        assert await scaler.keda.target(own) == 1


@pytest.mark.usefixtures("names")
async def test_idle_connections_are_closed(reachable: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle Redis from a connection string is disconnected, and connected again by the next request."""
    monkeypatch.setattr("scaler.server.FILE_CHECK_SECONDS", 0.02)
    monkeypatch.setattr("scaler.measuring.samplers.IDLE_SECONDS", 0.1)
    async with running_scaler(scaler=ALLOWED) as scaler:
        string = f"{HERE}:{reachable.port}"
        assert await scaler.keda.target(asking(string)) == 1
        await eventually(lambda: connections(reachable) == 0)
        assert await scaler.keda.target(asking(string)) == 1


@pytest.mark.parametrize("pattern", ["*", "10.*", "cache.*", ""])
def test_broad_patterns_are_rejected(pattern: str) -> None:
    """A pattern that is too broad is an error at startup that names it."""
    with pytest.raises(ConfigurationError, match=r"^invalid scaler\.allowed_hosts\.0 .*network such as"):
        load_settings(None, scaler={"allowed_hosts": [pattern]})
