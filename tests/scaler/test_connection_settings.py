"""Connections in the settings: a string, options of it apart, and passwords in variables and files of their own."""

from pathlib import Path

import grpc
import pytest
from grpc import StatusCode

from listeners.connections.spec import ConnectionSpec
from listeners.errors import ConfigurationError
from listeners.functions.triggers import ListTrigger
from listeners.redis.client import Client
from scaler.settings import load_settings
from tests.support.running_scaler import running_scaler
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

SECRET = "hunter2"


def resolved(settings_file: Path | None = None, name: str | None = None, **flags: object) -> ConnectionSpec:
    """Return the default connection or a named one of the loaded settings."""
    return load_settings(settings_file, **flags).redis_connections().resolve(ListTrigger(keys=("k",), connection=name))


def password_of(spec: ConnectionSpec) -> str | None:
    """Return the password in a spec."""
    return spec.password.get_secret_value() if spec.password is not None else None


@pytest.mark.parametrize(
    ("variable", "name"), [("TRIGGERFISH_CONNECTION", None), ("TRIGGERFISH_CONNECTIONS__CACHE", "cache")]
)
@pytest.mark.parametrize("address_option", ["", "__CONNECTION_STRING"])
def test_a_password_in_a_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, name: str | None, address_option: str
) -> None:
    """A variable may hold only the password, beside the one with the address, whatever the password looks like."""
    for password in (SECRET, "12345", '{"a": 1}', "a,b=c@d:e"):
        monkeypatch.setenv(f"{variable}{address_option}", "cache.example:6380,ssl=True")
        monkeypatch.setenv(f"{variable}__PASSWORD", password)
        spec = resolved(name=name)
        assert (spec.address, password_of(spec), spec.tls) == ("cache.example:6380", password, True)
        assert password not in repr(spec)


def test_all_options_of_the_default_connection(tmp_path: Path) -> None:
    """The default connection has the options of a named one, in the settings file too."""
    (tmp_path / "password").write_text(SECRET)
    file = tmp_path / "settings.yaml"
    file.write_text(
        f"connection: {{connection_string: 'a:1,ssl=True', server_name: b, password_file: {tmp_path}/password}}"
    )
    spec = resolved(file)
    assert (spec.server_name, spec.password_file) == ("b", f"{tmp_path}/password")


def test_a_string_replaces_all_of_a_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password in the file is not sent to the address in a variable, nor one in a variable to that of a flag."""
    file = tmp_path / "settings.yaml"
    file.write_text(f"connection: {{connection_string: 'file:1', password: {SECRET}}}")
    assert password_of(resolved(file)) == SECRET
    monkeypatch.setenv("TRIGGERFISH_CONNECTION", "variable:1")
    assert (resolved(file).host, password_of(resolved(file))) == ("variable", None)
    monkeypatch.setenv("TRIGGERFISH_CONNECTION__PASSWORD", "another")
    assert (resolved(file).host, password_of(resolved(file))) == ("variable", "another")
    spec = resolved(file, connection="flag:1")
    assert (spec.host, password_of(spec)) == ("flag", None)


@pytest.mark.parametrize(
    ("variables", "field", "word"),
    [
        ({"CONNECTION__PASSWORD": SECRET}, "connection.connection_string", "required"),
        ({"CONNECTION": "h:1", "CONNECTION__PASWORD": SECRET}, "connection.pasword", "password"),
        ({"CONNECTION": f"h:1,password={SECRET}", "CONNECTION__PASSWORD": SECRET}, "connection", "Keep one"),
        ({"CONNECTION": "h:1", "CONNECTION__NAMESPACES": '["shop"]'}, "connection", "named connection"),
        ({"CONNECTION": SECRET}, "connection", "password as host:port,password="),
        ({"CONNECTIONS__CACHE": "h:1", "CONNECTIONS__CACHE__PASWORD": SECRET}, "connections.cache.pasword", "Extra"),
    ],
)
def test_mistakes(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], field: str, word: str) -> None:
    """A mistake in the variables of a connection is an error with its name and without a value."""
    for name, value in variables.items():
        monkeypatch.setenv(f"TRIGGERFISH_{name}", value)
    with pytest.raises(ConfigurationError) as caught:
        resolved()
    assert caught.value.field == field
    assert word in str(caught.value)
    assert SECRET not in str(caught.value)


async def test_a_connection_with_a_password_apart(server: Server) -> None:
    """The password is sent to the server."""
    with server.client() as plain:
        plain.acl_setuser("ann", enabled=True, passwords=[f"+{SECRET}"], commands=["+@all"], keys=["*"])
        client = Client(
            resolved(connection={"connection_string": f"{server.address},user=ann", "password": SECRET}), "t"
        )
        try:
            assert await client.command(None, "ACL", "WHOAMI", doing="asking") == b"ann"
        finally:
            await client.aclose()
            plain.acl_deluser("ann")


async def test_the_scaler_follows_the_password_file_of_the_default_connection(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing password file makes the default connection unusable, and a new one makes it usable again."""
    monkeypatch.setattr("scaler.server.FILE_CHECK_SECONDS", 0.02)
    file = tmp_path / "password"
    file.write_text(SECRET)
    with server.client() as plain:
        plain.acl_setuser("ann", enabled=True, passwords=[f"+{SECRET}"], commands=["+@all"], keys=["*"])
    connection = {"connection_string": f"{server.address},user=ann", "password_file": file}
    metadata = {"type": "redisListTrigger", "keys": "orders", "messagesPerWorker": "1"}
    try:
        async with running_scaler(connection=connection) as scaler:
            assert await scaler.keda.target(metadata) == 0
            file.unlink()

            async def target_is(expected: int | StatusCode) -> bool:
                try:
                    return await scaler.keda.target(metadata) == expected
                except grpc.aio.AioRpcError as error:
                    return error.code() == expected

            await eventually(lambda: target_is(StatusCode.FAILED_PRECONDITION))
            file.write_text(SECRET)
            await eventually(lambda: target_is(0))
    finally:
        with server.client() as plain:
            plain.acl_deluser("ann")
