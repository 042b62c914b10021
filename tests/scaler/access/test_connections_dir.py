"""Named connections in a folder, and what happens to them when files change while the scaler runs."""

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
from tests.support.running_scaler import Running, failure, running_scaler, scaler_settings
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

SECRET = "hunter2"


def asking(connection: str) -> dict[str, str]:
    """Metadata of a list on this connection."""
    return {"type": "redisListTrigger", "keys": "orders", "messagesPerWorker": "1", "connection": connection}


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaler.server.LOOK_SECONDS", 0.02)


@pytest.fixture
def other(own_server: Server) -> Iterator[Server]:
    """Another server, with two elements in `orders`."""
    with own_server.client() as client:
        client.rpush("orders", "x", "y")
        yield own_server
        client.flushall()


async def target(scaler: Running, connection: str) -> int | str:
    """The target of `orders` there, or the status of the answer."""
    try:
        return await scaler.keda.target(asking(connection))
    except grpc.aio.AioRpcError as error:
        return error.code().name


async def becomes(scaler: Running, connection: str, wanted: int | str) -> None:
    """Wait until asking about a connection is answered so."""

    async def answered() -> bool:
        return await target(scaler, connection) == wanted

    await eventually(answered)


async def test_connections_in_files(server: Server, other: Server, tmp_path: Path, client: redis.asyncio.Redis) -> None:
    """A file is a connection: a string, or YAML with more; its name has no case, and dot files are none."""
    await client.rpush("orders", "x")
    (tmp_path / "Plain").write_text(f"{server.address}\n")
    (tmp_path / "more").write_text(f"connection_string: {other.address}\nnamespaces: [shop]\n")
    (tmp_path / ".hidden").write_text(server.address)
    async with running_scaler(connections_dir=tmp_path, scaler={"trust_network": True}) as scaler:
        assert await target(scaler, "plain") == 1
        assert await target(scaler, "MORE") == 2
        with failure(StatusCode.PERMISSION_DENIED, "'more'", "`namespaces`"):
            await scaler.keda.target(asking("more"), namespace="other")
        with failure(StatusCode.FAILED_PRECONDITION, "'.hidden'", "connections_dir"):
            await scaler.keda.target(asking(".hidden"))


async def test_files_come_and_go(server: Server, tmp_path: Path, client: redis.asyncio.Redis) -> None:
    """A new file is a connection without a restart; without its file it is FAILED_PRECONDITION, and not known."""
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
        assert names(server) == {"triggerfish:scaler"}
        (tmp_path / "cache").write_text(other.address)
        await becomes(scaler, "cache", 2)
        await disconnected(server)


def names(server: Server) -> set[str]:
    """The names of a server's clients."""
    with server.client() as client:
        return {one["name"] for one in client.client_list() if one["name"]}


async def disconnected(server: Server) -> None:
    """Wait until the scaler has no connection to a server."""
    await eventually(lambda: "triggerfish:scaler" not in names(server))


async def test_a_secret_mount(server: Server, other: Server, tmp_path: Path) -> None:
    """The folder may be a Kubernetes Secret mount, whose link `..data` is swapped."""
    mount(tmp_path, "..1", {"cache": server.address})
    async with running_scaler(connections_dir=tmp_path) as scaler:
        assert await target(scaler, "cache") == 0
        mount(tmp_path, "..2", {"cache": other.address, "second": server.address})
        await becomes(scaler, "cache", 2)
        await becomes(scaler, "second", 0)


def mount(folder: Path, version: str, secrets: dict[str, str]) -> None:
    """What the kubelet does: a new folder, then the link `..data` leads to it; then links for names that are new."""
    (folder / version).mkdir()
    for name, text in secrets.items():
        (folder / version / name).write_text(text)
    swapped = folder / "..data_tmp"
    swapped.symlink_to(version)
    swapped.rename(folder / "..data")
    for name in secrets:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")


BROKEN = {
    "a string": f"cache:port,password={SECRET}".encode(),
    "an option": f"cache:1,pasword={SECRET}".encode(),
    "empty": b"\n",
    "YAML": f"connection_string: [{SECRET}".encode(),
    "a list": f"# - \n- {SECRET}".encode(),
    "a field": f"connection_string: h\n{SECRET}: x".encode(),
    "a value": f"connection_string: h\nentra: {SECRET}".encode(),
    "no string": f"password_file: {SECRET}".encode(),
    "bytes": b"\xff" + SECRET.encode(),
    "a file": b"connection_string: h\npassword_file: /missing",
}


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_broken_file(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, client: redis.asyncio.Redis, broken: str
) -> None:
    """A file that does not parse disturbs no other; it is told once by its name, without its content, and mends."""
    await client.rpush("orders", "x")
    (tmp_path / "good").write_text(server.address)
    (tmp_path / "bad").write_text(server.address)
    async with running_scaler(connections_dir=tmp_path) as scaler:
        assert await target(scaler, "bad") == 1
        (tmp_path / "bad").write_bytes(BROKEN[broken])
        await becomes(scaler, "bad", "FAILED_PRECONDITION")
        assert await target(scaler, "good") == 1
        with failure(StatusCode.FAILED_PRECONDITION, "connections_dir.bad") as caught:
            await scaler.keda.active(asking("bad"))
        _, page = await scaler.get("/api/v1/triggers")
        _, metrics = await scaler.get("/metrics")
        assert 'triggerfish_reload_errors_total{what="connection"} 1.0' in metrics
        assert caplog.text.count("connections_dir.bad") == 1
        assert not any(SECRET in shown for shown in (caught.details, caplog.text, page, metrics))
        (tmp_path / "bad").write_text(server.address)
        await becomes(scaler, "bad", 1)


async def test_broken_from_the_start(server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is broken when the scaler starts does not keep it from starting, nor does a missing connection of a
    declared trigger; a folder in the folder is told too.
    """
    (tmp_path / "good").write_text(server.address)
    (tmp_path / "bad").write_text(f"cache:port,password={SECRET}")
    (tmp_path / "folder").mkdir()
    declared = {"orders": {**asking("late"), "messagesPerWorker": 1}}
    async with running_scaler(connections_dir=tmp_path, triggers=declared) as scaler:
        assert await target(scaler, "good") == 0
        for name in ("bad", "folder"):
            with failure(StatusCode.FAILED_PRECONDITION, f"connections_dir.{name}"):
                await scaler.keda.target(asking(name))
        assert "'late'" in caplog.text
        assert SECRET not in caplog.text


async def test_the_folder_vanishes(server: Server, tmp_path: Path) -> None:
    """Without the folder its connections are gone, those of the settings go on, and it may come back."""
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
    """A connection of the settings follows its password file: a new password is used at once, on new connections."""
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    await client.acl_setuser("ann", enabled=True, reset=True, passwords=[f"+{SECRET}"], keys=["*"], commands=["+@all"])
    try:
        connection = {"connection_string": f"{server.address},user=ann", "password_file": file}
        async with running_scaler(connections={"cache": connection}) as scaler:
            assert await target(scaler, "cache") == 0
            await client.acl_setuser("ann", enabled=True, reset_passwords=True, passwords=["+another"])
            before = await ids(client)
            file.write_text("another")

            async def moved() -> bool:
                return await target(scaler, "cache") == 0 and not before & await ids(client)

            await eventually(moved)
            file.unlink()
            await becomes(scaler, "cache", "FAILED_PRECONDITION")
            file.write_text("another")
            await becomes(scaler, "cache", 0)
    finally:
        await client.acl_deluser("ann")


async def ids(client: redis.asyncio.Redis) -> set[str]:
    """The scaler's connections to this server."""
    return {one["id"] for one in await client.client_list() if one["name"] == "triggerfish:scaler"}


LIMITED = "connection_string: h\nnamespaces: [shop]\n"


def test_limits_need_something_that_vouches(tmp_path: Path) -> None:
    """Limits in the settings or in a file, without mutual TLS or trust_network: the scaler does not start."""
    connections = {"cache": {"connection_string": "cache:1", "namespaces": ["shop"]}, "open": "open:1"}
    with pytest.raises(ConfigurationError, match=r"'cache'.*client_ca_file.*scaler\.trust_network"):
        ScalerServer(scaler_settings(connections=connections))
    (tmp_path / "mounted").write_text(LIMITED)
    with pytest.raises(ConfigurationError, match=r"'mounted'.*client_ca_file.*scaler\.trust_network"):
        ScalerServer(scaler_settings(connections_dir=tmp_path))
    ScalerServer(scaler_settings(connections=connections, connections_dir=tmp_path, scaler={"trust_network": True}))


async def test_limits_that_appear_need_it_too(server: Server, tmp_path: Path) -> None:
    """A file that gets limits while nothing vouches for namespaces cannot be used any more."""
    (tmp_path / "cache").write_text(server.address)
    async with running_scaler(connections_dir=tmp_path) as scaler:
        assert await target(scaler, "cache") == 0
        (tmp_path / "cache").write_text(LIMITED)
        await becomes(scaler, "cache", "FAILED_PRECONDITION")


def test_a_missing_folder(tmp_path: Path) -> None:
    """A folder that is missing at the start is an error that names it."""
    with pytest.raises(ConfigurationError, match=r"^invalid connections_dir .*nowhere"):
        ScalerServer(scaler_settings(connections_dir=tmp_path / "nowhere"))


def test_hosts_use_the_folder_too(tmp_path: Path) -> None:
    """Also a host's triggers may name a connection of the folder; the settings come first; a broken one is told."""
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
