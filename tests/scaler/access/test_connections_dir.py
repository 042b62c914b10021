"""Named connections in a folder, whose files may change while the scaler runs."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import redis.asyncio
from grpc import StatusCode

from listeners.connections.spec import ConnectionSpec
from listeners.errors import ConfigurationError, UnknownConnectionError
from listeners.functions.triggers import ListTrigger
from scaler.server import ScalerServer
from scaler.settings import load_settings
from tests.support.running_scaler import RunningScaler, failure, running_scaler, scaler_settings
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

SECRET = "hunter2"


def list_metadata(connection: str) -> dict[str, str]:
    """Return metadata of a list on this connection."""
    return {"type": "redisListTrigger", "keys": "orders", "messagesPerWorker": "1", "connection": connection}


@pytest.fixture(autouse=True)
def _frequent_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaler.server.FILE_CHECK_SECONDS", 0.02)


@pytest.fixture
def other(own_server: Server) -> Iterator[Server]:
    """Another server, with two elements in `orders`."""
    with own_server.client() as client:
        client.rpush("orders", "x", "y")
        yield own_server
        client.flushall()


async def target(scaler: RunningScaler, connection: str) -> int | str:
    """Return the target of `orders` on this connection, or the status of the error."""
    try:
        return await scaler.keda.target(list_metadata(connection))
    except grpc.aio.AioRpcError as error:
        return error.code().name


async def becomes(scaler: RunningScaler, connection: str, expected: int | str) -> None:
    """Wait until the target or the status of this connection is as expected."""

    async def reached() -> bool:
        return await target(scaler, connection) == expected

    await eventually(reached)


async def test_connections_in_files(server: Server, other: Server, tmp_path: Path, client: redis.asyncio.Redis) -> None:
    """Each file is a connection: a string, or YAML with options. Names ignore case, and dot files are ignored."""
    await client.rpush("orders", "x")
    (tmp_path / "Plain").write_text(f"{server.address}\n")
    (tmp_path / "more").write_text(f"connection_string: {other.address}\nnamespaces: [shop]\n")
    (tmp_path / ".hidden").write_text(server.address)
    async with running_scaler(connections_dir=tmp_path, scaler={"trust_network": True}) as scaler:
        assert await target(scaler, "plain") == 1
        assert await target(scaler, "MORE") == 2
        with failure(StatusCode.PERMISSION_DENIED, "'more'", "`namespaces`"):
            await scaler.keda.target(list_metadata("more"), namespace="other")
        with failure(StatusCode.FAILED_PRECONDITION, "'.hidden'", "connections_dir"):
            await scaler.keda.target(list_metadata(".hidden"))


async def test_files_come_and_go(server: Server, tmp_path: Path, client: redis.asyncio.Redis) -> None:
    """A new file becomes a connection without a restart. Without its file it is FAILED_PRECONDITION, and unknown."""
    await client.rpush("orders", "x")
    async with running_scaler(connections_dir=tmp_path) as scaler:
        assert await target(scaler, "cache") == "FAILED_PRECONDITION"
        (tmp_path / "cache").write_text(server.address)
        await becomes(scaler, "cache", 1)
        assert set((await scaler.samples())["triggerfish_trigger_known"].values()) == {1}
        (tmp_path / "cache").unlink()
        await becomes(scaler, "cache", "FAILED_PRECONDITION")
        samples = await scaler.samples()
        assert set(samples["triggerfish_trigger_known"].values()) == {0}
        assert "triggerfish_trigger_backlog" not in samples
        await disconnected(server)


async def test_a_changed_connection(server: Server, other: Server, tmp_path: Path) -> None:
    """A changed connection is used for the next sample, and the old one is closed."""
    (tmp_path / "cache").write_text(server.address)
    async with running_scaler(connections_dir=tmp_path) as scaler:
        assert await target(scaler, "cache") == 0
        assert client_names(server) == {"triggerfish:scaler"}
        (tmp_path / "cache").write_text(other.address)
        await becomes(scaler, "cache", 2)
        await disconnected(server)


def client_names(server: Server) -> set[str]:
    """Return the names of a server's clients."""
    with server.client() as client:
        return {one["name"] for one in client.client_list() if one["name"]}


async def disconnected(server: Server) -> None:
    """Wait until the scaler has no connection to a server."""
    await eventually(lambda: "triggerfish:scaler" not in client_names(server))


async def test_a_secret_mount(server: Server, other: Server, tmp_path: Path) -> None:
    """The folder may be the mount of a Kubernetes Secret, whose link `..data` is replaced."""
    mount(tmp_path, "..1", {"cache": server.address})
    async with running_scaler(connections_dir=tmp_path) as scaler:
        assert await target(scaler, "cache") == 0
        mount(tmp_path, "..2", {"cache": other.address, "second": server.address})
        await becomes(scaler, "cache", 2)
        await becomes(scaler, "second", 0)


def mount(folder: Path, version: str, secrets: dict[str, str]) -> None:
    """Update a mount as the kubelet does: a new folder, then the link `..data` to it, then links for new names."""
    (folder / version).mkdir()
    for name, text in secrets.items():
        (folder / version / name).write_text(text)
    link = folder / "..data_tmp"
    link.symlink_to(version)
    link.rename(folder / "..data")
    for name in secrets:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")


BROKEN = {
    "an option twice": b"connection_string: a:1\nconnection_string: b:1,password=" + SECRET.encode(),
    "a string": f"cache:port,password={SECRET}".encode(),
    "an option": f"cache:1,pasword={SECRET}".encode(),
    "empty": b"\n",
    "YAML": f"connection_string: [{SECRET}".encode(),
    "a list": f"# - \n- {SECRET}".encode(),
    "a field": f"connection_string: h:1\n{SECRET}: x".encode(),
    "a value": f"connection_string: h:1\nentra: {SECRET}".encode(),
    "no string": f"password_file: {SECRET}".encode(),
    "bytes": b"\xff" + SECRET.encode(),
    "a file": b"connection_string: h:1\npassword_file: /missing",
    "a path": b'connection_string: h:1\npassword_file: "/a\\0b"',
    "a date": b"connection_string: h:1\nnamespaces: [2021-99-99]",
    "no number": b"connection_string: h:1\nnamespaces: [!!int '']",
    "a time": b"connection_string: h:1\nnamespaces: [!!timestamp x]",
    "digits": b"connection_string: h:1\nnamespaces: [" + b"9" * 5000 + b"]",
    "depth": b"connection_string: h:1\nnamespaces: " + b"[" * 5000,
    "documents": b"connection_string: h:1\n---\nconnection_string: h:1",
}


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_broken_file(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, client: redis.asyncio.Redis, broken: str
) -> None:
    """A file that does not parse affects no other. It is logged once by name, without its content, and can be fixed."""
    await client.rpush("orders", "x")
    (tmp_path / "good").write_text(server.address)
    (tmp_path / "bad").write_text(server.address)
    async with running_scaler(connections_dir=tmp_path) as scaler:
        assert await target(scaler, "bad") == 1
        (tmp_path / "bad").write_bytes(BROKEN[broken])
        await becomes(scaler, "bad", "FAILED_PRECONDITION")
        assert await target(scaler, "good") == 1
        with failure(StatusCode.FAILED_PRECONDITION, "connections_dir.bad") as caught:
            await scaler.keda.active(list_metadata("bad"))
        _, page = await scaler.get("/api/v1/triggers")
        _, metrics = await scaler.get("/metrics")
        assert 'triggerfish_reload_errors_total{what="connection"} 1.0' in metrics
        assert caplog.text.count("connections_dir.bad") == 1
        assert not any(SECRET in shown for shown in (caught.details, caplog.text, page, metrics))
        (tmp_path / "bad").write_text(server.address)
        await becomes(scaler, "bad", 1)


async def test_files_broken_at_startup(server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Broken files do not prevent the scaler from starting, nor does a missing connection of a declared trigger. A
    subfolder is reported too.
    """
    for name, content in BROKEN.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "good").write_text(server.address)
    (tmp_path / "bad").write_text(f"cache:port,password={SECRET}")
    (tmp_path / "folder").mkdir()
    declared = {"orders": {**list_metadata("late"), "messagesPerWorker": 1}}
    async with running_scaler(connections_dir=tmp_path, triggers=declared) as scaler:
        assert await target(scaler, "good") == 0
        for name in ("bad", "folder"):
            with failure(StatusCode.FAILED_PRECONDITION, f"connections_dir.{name}"):
                await scaler.keda.target(list_metadata(name))
        assert "'late'" in caplog.text
        assert SECRET not in caplog.text


async def test_the_folder_vanishes(server: Server, tmp_path: Path) -> None:
    """Without the folder its connections fail, those in the settings still work, and the folder may come back."""
    folder = tmp_path / "connections"
    folder.mkdir()
    (folder / "cache").write_text(server.address)
    async with running_scaler(connections_dir=folder, connections={"fixed": server.address}) as scaler:
        assert await target(scaler, "cache") == 0
        folder.rename(tmp_path / "elsewhere")
        await becomes(scaler, "cache", "FAILED_PRECONDITION")
        assert await target(scaler, "fixed") == 0
        (tmp_path / "elsewhere").rename(folder)
        await becomes(scaler, "cache", 0)


async def test_a_password_file_is_replaced(server: Server, tmp_path: Path, client: redis.asyncio.Redis) -> None:
    """A connection in the settings follows its password file: a new password is used at once, on new connections."""
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    await client.acl_setuser("ann", enabled=True, reset=True, passwords=[f"+{SECRET}"], keys=["*"], commands=["+@all"])
    try:
        connection = {"connection_string": f"{server.address},user=ann", "password_file": file}
        async with running_scaler(connections={"cache": connection}) as scaler:
            assert await target(scaler, "cache") == 0
            await client.acl_setuser("ann", enabled=True, reset_passwords=True, passwords=["+another"])
            before = await connection_ids(client)
            file.write_text("another")

            async def reconnected() -> bool:
                return await target(scaler, "cache") == 0 and not before & await connection_ids(client)

            await eventually(reconnected)
            file.unlink()
            await becomes(scaler, "cache", "FAILED_PRECONDITION")
            file.write_text("another")
            await becomes(scaler, "cache", 0)
    finally:
        await client.acl_deluser("ann")


async def connection_ids(client: redis.asyncio.Redis) -> set[str]:
    """Return the IDs of the scaler's connections to this server."""
    return {one["id"] for one in await client.client_list() if one["name"] == "triggerfish:scaler"}


LIMITED = "connection_string: h:1\nnamespaces: [shop]\n"


def test_limits_need_trusted_namespaces(tmp_path: Path) -> None:
    """With limits in the settings the scaler starts only with mutual TLS or trust_network."""
    connections = {"cache": {"connection_string": "cache:1", "namespaces": ["shop"]}, "open": "open:1"}
    with pytest.raises(ConfigurationError, match=r"'cache'.*client_ca_file.*scaler\.trust_network"):
        ScalerServer(scaler_settings(connections=connections))
    (tmp_path / "mounted").write_text(LIMITED)
    ScalerServer(scaler_settings(connections=connections, connections_dir=tmp_path, scaler={"trust_network": True}))


async def test_limits_that_appear_need_trusted_namespaces(server: Server, tmp_path: Path) -> None:
    """A file that gets limits while namespaces are not trusted becomes unusable, and another one has been from the
    beginning.
    """
    (tmp_path / "cache").write_text(server.address)
    (tmp_path / "limited").write_text(LIMITED)
    async with running_scaler(connections_dir=tmp_path) as scaler:
        with failure(StatusCode.FAILED_PRECONDITION, "'limited'", "scaler.trust_network"):
            await scaler.keda.target(list_metadata("limited"))
        assert await target(scaler, "cache") == 0
        (tmp_path / "cache").write_text(LIMITED)
        await becomes(scaler, "cache", "FAILED_PRECONDITION")


async def test_an_unknown_name(server: Server, tmp_path: Path) -> None:
    """A ScaledObject that names an unknown connection does not learn which ones the operator has."""
    (tmp_path / "payments-eu").write_text(server.address)
    connections = {"payments-us": server.address}
    async with running_scaler(connections_dir=tmp_path, connections=connections) as scaler:
        for call in (scaler.keda.target, scaler.keda.active):
            with failure(StatusCode.FAILED_PRECONDITION, "'payments'", "`connections`", "connections_dir") as caught:
                await call(list_metadata("payments"))
            assert "payments-" not in caught.details


def test_a_missing_folder(tmp_path: Path) -> None:
    """A folder that is missing at startup is an error that names it."""
    with pytest.raises(ConfigurationError, match=r"^invalid connections_dir .*nowhere"):
        ScalerServer(scaler_settings(connections_dir=tmp_path / "nowhere"))


def test_hosts_use_the_folder_too(tmp_path: Path) -> None:
    """A host's triggers may name connections in the folder. Settings take precedence, and a broken file is an error."""
    for name, text in (("cache", "mounted:1"), ("both", "mounted:1"), ("bad", "h:port")):
        (tmp_path / name).write_text(text)
    connections = load_settings(None, connections_dir=tmp_path, connections={"Both": "fixed:1"}).redis_connections()

    def resolved(name: str) -> ConnectionSpec:
        return connections.resolve(ListTrigger(keys=("k",), connection=name))

    assert (resolved("cache").host, resolved("both").host) == ("mounted", "fixed")
    with pytest.raises(ConfigurationError, match=r"^connections_dir\.bad"):
        resolved("bad")
    with pytest.raises(UnknownConnectionError):
        resolved("none")
