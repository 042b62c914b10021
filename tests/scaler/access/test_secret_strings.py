"""Connection strings with a secret at every entry point that takes one: nothing shows the secret."""

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc.aio
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from listeners.connections.named import Connections
from listeners.connections.strings import parse_connection_string
from listeners.errors import ConfigurationError, SourceError
from listeners.functions.app import App
from listeners.functions.declarations import parse_declaration, parse_trigger
from listeners.functions.loading import load_app
from listeners.functions.triggers import ListTrigger
from listeners.host.host import Host
from listeners.redis.client import Client
from scaler.settings import load_settings
from tests.scaler.access.secret_strings import MARKER, SECRET_STRINGS
from tests.support.running_scaler import running_scaler
from triggerfish.cli.program import program
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

APP = """
from triggerfish import App
app = App()
@app.list_trigger(keys="orders")
def handle(order: str) -> None: ...
"""


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail if a log line of any level has the secret, at the end of each test."""
    caplog.set_level(logging.DEBUG, "triggerfish")
    yield
    assert MARKER not in caplog.text


def shown(call: Callable[[], object]) -> str:
    """Return all texts of a call's result, or of its error and what caused it."""
    try:
        result = call()
    except (ConfigurationError, SourceError) as error:
        causes = [error, error.__cause__] if error.__cause__ is not None else [error]
        return "".join(f"{one} {one!r}" for one in causes)
    return f"{result} {result!r} {getattr(result, 'address', '')}"


def assert_hidden(text: str, string: str) -> None:
    """Fail if a text has the secret."""
    place = text.find(MARKER)
    assert place == -1, f"{string}: ...{text[max(place - 200, 0) : place + 50]}..."


def test_strings() -> None:
    """Neither the spec of a string nor the error about it shows the secret."""
    for string in SECRET_STRINGS:
        assert MARKER not in shown(lambda string=string: parse_connection_string(string))  # type: ignore[misc]


def test_hosts_and_triggers() -> None:
    """Neither a host, nor connections or triggers, nor their errors show the secret."""
    for string in SECRET_STRINGS:
        connections = Connections(SecretStr(string), {"cache": SecretStr(string)})
        assert MARKER not in repr(connections)
        for named in ({}, {"connection": "cache"}, {"connection_string": string}):
            app = App()
            text = shown(lambda app=app, named=named: app.list_trigger(keys="k", **named)(print))  # type: ignore[misc]
            text += shown(lambda app=app, connections=connections: Host(app, connections))  # type: ignore[misc]
            text += shown(lambda named=named: parse_trigger(ListTrigger, {"keys": "k", **named}))  # type: ignore[misc]
            assert_hidden(text, string)


def test_declarations(tmp_path: Path) -> None:
    """A type, a number or an option in place of a connection string is not shown, whatever holds the declaration."""
    file = tmp_path / "app.yaml"
    for string in SECRET_STRINGS:
        text = shown(lambda string=string: parse_declaration(string, {"keys": "k"}))  # type: ignore[misc]
        file.write_text(
            "functions: {f: {handler: 'builtins:print', type: RedisListTrigger, keys: k, connectionString: " + string
        )
        text += shown(lambda: load_app(str(file)))
        file.write_text(f"functions:\n  f:\n    handler: builtins:print\n    keys: k\n    type: {string}\n")
        text += shown(lambda: load_app(str(file)))
        assert_hidden(text, string)


def test_a_string_in_place_of_another_value_or_name() -> None:
    """What resembles a connection string is not shown, whichever option it was given for."""
    for string in (text for text in SECRET_STRINGS if re.search("password=|redis://|@.+:", text)):
        for misplaced in ({"batchSize": string}, {"delivery": string}, {string: "x"}):
            text = shown(lambda misplaced=misplaced: parse_trigger(ListTrigger, {"keys": "k", **misplaced}))  # type: ignore[misc]
            assert_hidden(text, string)


def test_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting that holds a connection is shown, from a flag, a variable, a settings file or a folder."""
    file, folder = tmp_path / "settings.yaml", tmp_path / "connections"
    folder.mkdir()

    def connections(**flags: object) -> str:
        def resolve() -> object:
            settings = load_settings(file if file.exists() else None, **flags)
            found = settings.redis_connections()
            specs = [found.resolve(ListTrigger(keys=("k",), connection=name)) for name in (None, *found.named)]
            return settings, found, specs, [spec.address for spec in specs]

        return shown(resolve)

    for string in SECRET_STRINGS:
        text = connections(connection=string) + connections(connections={"cache": string})
        for variable in ("CONNECTION", "CONNECTION__PASSWORD", "CONNECTIONS__CACHE", "CONNECTIONS__CACHE__NAMESPACES"):
            with monkeypatch.context() as variables:
                variables.setenv(f"TRIGGERFISH_{variable}", string)
                text += connections()
        for content in (
            f"- {string}",
            f"connection: {string}",
            f"connection:\n  connection_string: {string}\n  pasword: {string}",
            f"connections: {string}",
            f"connections: {{cache: {string}",
            f"connections:\n  cache:\n    entra: {string}",
            f"triggers: {{orders: {{connectionString: {string}",
            f"triggers:\n  orders: {string}",
        ):
            file.write_text(content)
            text += connections()
            file.unlink()
            (folder / "cache").write_text(content)
            text += connections(connections_dir=folder)
        assert_hidden(text, string)


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands show no secret of a variable, of an option, of metadata or of a ScaledObject."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIGGERFISH_CONNECTION", raising=False)
    (tmp_path / "shop.py").write_text(APP)
    scaled_object = tmp_path / "scaledobject.yaml"

    def output(*arguments: str, **variables: str) -> str:
        result = CliRunner().invoke(program, arguments, env=variables)
        return f"{result.output} {result.exception} {result.exception!r}"

    for string in SECRET_STRINGS:
        metadata = ("-m", "type=RedisListTrigger", "-m", "keys=k")
        text = output("check", "shop.py", TRIGGERFISH_CONNECTION=string)
        text += output("check", "shop.py", "--acl", TRIGGERFISH_CONNECTION=string)
        text += output("check", "shop.py", "--connection", string)
        text += output("explain", *metadata, "-m", f"connectionString={string}")
        text += output("explain", *metadata, "-m", f"127.0.0.1:1,{string}")
        text += output("explain", "-m", f"type={string}", "-m", "keys=k")
        text += output("probe", "127.0.0.1:1", *metadata, "-m", f"connectionString={string}")
        text += output("probe", "127.0.0.1:1", "-m", f"type={string}", "-m", "keys=k")
        for key in ("connectionString", "connectionStringFromEnv", "type"):
            scaled_object.write_text(
                "kind: ScaledObject\nmetadata: {name: shop}\nspec:\n  triggers:\n  - type: external\n    metadata:\n"
                f"      scalerAddress: 127.0.0.1:1\n      {key}: {string}\n"
            )
            text += output("probe", "127.0.0.1:1", "--file", str(scaled_object))
        assert_hidden(text, string)


async def test_a_scaler(server: Server, tmp_path: Path) -> None:
    """The scaler shows no secret of a named connection or of a request in its replies, its page or its metrics."""
    for number, string in enumerate(SECRET_STRINGS):
        (tmp_path / f"c{number}").write_text(string)
    (tmp_path / "denied").write_text(f"{server.address},user=nobody,password={MARKER}")
    metadata = {"type": "RedisListTrigger", "keys": "orders", "messagesPerWorker": "1"}
    requests = [{**metadata, "connection": file.name} for file in tmp_path.iterdir()]
    for string in SECRET_STRINGS:
        requests += [{**metadata, "connectionString": string}, {**metadata, "type": string}]
        if re.search("[=:,@]", string):  # others may be names
            requests.append({**metadata, "connection": string})
    async with running_scaler(
        connections_dir=tmp_path, scaler={"allowed_hosts": ["127.0.0.0/8", "*.example"]}
    ) as scaler:
        replies = ""
        for number, request in enumerate(requests):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await scaler.keda.target(request, name=f"worker{number}")
            replies += str(caught.value.details())
        for path in ("/", "/api/v1/triggers", "/metrics", "/readyz"):
            _, text = await scaler.get(path)
            replies += text
        assert_hidden(replies, "the replies")


async def test_a_refused_password(server: Server) -> None:
    """The error of a server that refuses a password does not show it."""
    client = Client(parse_connection_string(f"{server.address},user=nobody,password={MARKER}"), "test")
    try:
        with pytest.raises(SourceError) as caught:
            await client.server()
        assert MARKER not in f"{caught.value} {caught.value.__cause__!r}"
    finally:
        await client.aclose()
