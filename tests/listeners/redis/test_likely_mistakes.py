"""Connections that fail by a likely mistake: the error has the fix."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from listeners.connections.settings import ConnectionSettings
from listeners.connections.strings import parse_connection_string
from listeners.errors import SourceError
from listeners.redis.client import Client
from tests.servers.catalogue import RELEASES
from tests.servers.secured import Secured
from tests.servers.sentinels import SERVICE, sentinel_of
from triggerfish.testing.server import Server

SECRET = "hunter2"


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    """A Redis that requires a client certificate at its TLS port."""
    secured = Secured(tmp_path)
    yield secured
    secured.server.stop()


@pytest.fixture
def sentinel(server: Server) -> Iterator[Server]:
    """A Sentinel that monitors the server."""
    with sentinel_of(RELEASES["valkey-9.1"], server) as sentinel:
        yield sentinel


async def failure(connection: str | ConnectionSettings, *command: str) -> str:
    """Return the error of asking for the server's version, or of a command; empty if there is none."""
    spec = parse_connection_string(connection) if isinstance(connection, str) else connection.spec("connections.cache")
    client = Client(spec, "test", timeout_seconds=1)
    try:
        await (client.command(None, *command, doing=command[0]) if command else client.server())
    except SourceError as error:
        assert SECRET not in str(error)
        return str(error)
    finally:
        await client.aclose()
    return ""


async def test_plain_text_to_a_tls_port(secured: Secured) -> None:
    """The error suggests TLS, with a password and without."""
    for options in ("", f",password={SECRET}"):
        assert "add ssl=True, or write rediss://" in await failure(f"127.0.0.1:{secured.tls_port}{options}")


async def test_tls_to_a_plain_port(server: Server) -> None:
    """The error names the address and suggests plain text, in whichever way the server reacts to the handshake."""
    error = await failure(f"{server.address},ssl=True")
    assert server.address in error
    assert "drop ssl=True, or write redis://" in error


async def test_tls_to_a_server_that_replies_in_plain_text() -> None:
    """The error suggests plain text, if the first bytes of TLS look like a command to the server."""

    async def reply(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"-ERR unknown command\r\n")
        await writer.drain()

    async with await asyncio.start_server(reply, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        assert "drop ssl=True, or write redis://" in await failure(f"127.0.0.1:{port},ssl=True")


async def test_an_unknown_authority(secured: Secured) -> None:
    """The error about a certificate of an authority that is not trusted names the setting for it."""
    assert "ca_file" in await failure(f"127.0.0.1:{secured.tls_port},ssl=True")


async def test_a_missing_client_certificate(secured: Secured) -> None:
    """The error names the settings of a client certificate."""
    assert "certificate_file and key_file" in await failure(secured.settings(ca_file=secured.folder / "ca.crt"))


async def test_a_certificate_for_another_name(secured: Secured) -> None:
    """The error names sslHost and server_name. With either of them the certificate must have that name."""
    secured.server.stop()
    again = Secured(secured.folder, "--tls-auth-clients", "no", hosts=("cache.example",))
    try:
        ca_file = secured.folder / "ca.crt"
        assert "sslHost=..., or as server_name" in await failure(again.settings(ca_file=ca_file))
        assert await failure(again.settings(ca_file=ca_file, server_name="cache.example")) == ""
        assert "mismatch" in await failure(again.settings(ca_file=ca_file, server_name="other.example"))
        string = f"127.0.0.1:{again.tls_port},ssl=True,sslHost=cache.example"
        assert await failure(ConnectionSettings.model_validate({"connection_string": string, "ca_file": ca_file})) == ""
    finally:
        again.server.stop()


@pytest.mark.releases("valkey-9.1")
async def test_the_port_of_a_sentinel(sentinel: Server) -> None:
    """The error suggests serviceName, whether the string has a database, a password or neither."""
    for options in ("", ",defaultDatabase=1", f",password={SECRET}"):
        assert "serviceName=..." in await failure(f"{sentinel.address}{options}")
    assert "serviceName=..." in await failure(f"redis://{sentinel.address}")


@pytest.mark.releases("valkey-9.1")
async def test_a_wrong_service(server: Server, sentinel: Server) -> None:
    """The error has the names that the Sentinel monitors, or says that there is no Sentinel."""
    assert f"monitors {SERVICE}" in await failure(f"{sentinel.address},serviceName=other")
    error = await failure(f"{server.address},serviceName={SERVICE}")
    assert error.endswith("Drop serviceName")  # and not that the command was renamed


async def test_a_replica() -> None:
    """The error of a write at a replica suggests the primary."""
    with RELEASES["valkey-9.1"].start("--replicaof", "127.0.0.1", "1") as replica:
        assert "Give the address of the primary" in await failure(replica.address, "RPUSH", "key", "x")
        script = "return redis.call('SET', KEYS[1], 1)"
        assert "Give the address of the primary" in await failure(replica.address, "EVAL", script, "1", "key")


async def test_a_server_without_its_replica() -> None:
    """The error of a write that needs a replica names the setting, in a script too."""
    with RELEASES["valkey-9.1"].start("--min-replicas-to-write", "1") as server:
        assert "lower min-replicas-to-write" in await failure(server.address, "RPUSH", "key", "x")
        script = "return redis.call('SET', KEYS[1], 1)"
        assert "lower min-replicas-to-write" in await failure(server.address, "EVAL", script, "1", "key")


async def test_a_cluster_without_slots() -> None:
    """The error of a key whose slot no node serves names the command that shows it."""
    with RELEASES["valkey-9.1"].start("--cluster-enabled", "yes") as server:
        assert "CLUSTER INFO" in await failure(server.address, "LLEN", "key")


async def test_a_database_of_a_cluster() -> None:
    """The error of a database that a cluster does not have suggests to drop it."""
    with RELEASES["redis-7.2"].start("--cluster-enabled", "yes") as server:
        assert "Drop the database" in await failure(f"{server.address},defaultDatabase=1")


async def test_a_server_at_its_memory_limit() -> None:
    """The error of a write names the limit, in a script too."""
    with RELEASES["valkey-9.1"].start("--maxmemory", "1") as server:
        assert "Raise maxmemory" in await failure(server.address, "RPUSH", "key", "x")
        script = "return redis.call('SET', KEYS[1], 1)"
        assert "Raise maxmemory" in await failure(server.address, "EVAL", script, "1", "key")


async def test_a_socket_that_does_not_exist(tmp_path: Path) -> None:
    """The error names the path, and the server's setting for it."""
    error = await failure(f"unix://{tmp_path}/r.sock")
    assert f"{tmp_path}/r.sock" in error
    assert "`unixsocket`" in error


async def test_a_server_with_too_many_clients() -> None:
    """The error names maxclients, whether the server's reply has been read or the connection was closed first."""
    with RELEASES["valkey-9.1"].start("--maxclients", "1") as server, server.client() as client:
        client.ping()
        for _ in range(5):
            error = await failure(server.address)
            assert "max number of clients" in error or "maxclients" in error


async def test_a_server_that_denies_info() -> None:
    """The server's description names the reason why its version is unknown."""
    with RELEASES["valkey-9.1"].start() as server, server.client() as admin:
        admin.acl_setuser("limited", enabled=True, nopass=True, commands=["+@all", "-info"])
        client = Client(parse_connection_string(f"redis://limited:x@{server.address}"), "test")
        assert "INFO is denied" in str(await client.server())
        await client.aclose()


async def test_a_password_that_is_not_needed(server: Server) -> None:
    """The error suggests to drop the password."""
    assert "Drop it" in await failure(f"{server.address},password={SECRET}")


async def test_a_password_that_is_missing_or_wrong() -> None:
    """The error asks for a password, or to check the one that is given."""
    with RELEASES["valkey-9.1"].start() as server:
        with server.client() as client:
            client.config_set("requirepass", "right")
        assert "Add password=..." in await failure(server.address)
        assert "Add password=..." in await failure(server.address, "LLEN", "key")
        assert "Add password=..." in await failure(f"{server.address},defaultDatabase=1", "LLEN", "key")
        for options in (f"password={SECRET}", f"user=ann,password={SECRET}"):
            assert "Check the password" in await failure(f"{server.address},{options}")


async def test_a_host_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the host, and how a Service of another namespace is written."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("listeners.connections.resolver.socket.getaddrinfo", unknown)
    error = await failure("cache.example:6379")
    assert "cache.example:6379" in error
    assert "NAME.NAMESPACE" in error


@pytest.mark.parametrize(
    ("reply", "fix"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "Check the host and the port"),
        (b"ERROR\r\n", "Check the host and the port"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "add ssl=True"),
    ],
)
async def test_a_server_that_is_not_redis(reply: bytes, fix: str) -> None:
    """The error suggests TLS only if the reply is one of TLS."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(reply)
        await writer.drain()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        error = await failure(f"127.0.0.1:{port}", "LLEN", "key")
    assert fix in error
    assert ("ssl=True" in error) == ("ssl=True" in fix)


async def test_a_server_that_is_silent() -> None:
    """The error names the address once."""
    async with await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0) as listening:
        address = "{}:{}".format(*listening.sockets[0].getsockname())
        assert (await failure(address)).count(address) == 1


async def test_a_database_that_does_not_exist(server: Server) -> None:
    """The error names the server's setting, and the server does not count as one that denies INFO."""
    assert "`databases`" in await failure(f"{server.address},defaultDatabase=999999")
