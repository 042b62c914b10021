"""Servers that rename or deny commands: where another command does, the host uses it; otherwise the error names it."""

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from tests.servers.catalogue import RELEASES
from tests.support.running_host import RunHost, running_host
from tests.support.waiting import eventually
from triggerfish import App, Host
from triggerfish.testing.server import Server

#: Those with client tracking, old and new.
TRACKING = ("redis-6.0", "redis-7.2", "valkey-9.1")
PASSWORD = "hidden-word"
WAYS = ["denied", "renamed"]


@contextlib.asynccontextmanager
async def refusing(server: Server, release: str, command: str, way: str) -> AsyncIterator[tuple[Server, str]]:
    """A server that refuses a command in one of two ways, and what to add to its address."""
    if way == "renamed":
        with RELEASES[release].start("--rename-command", command, "") as renaming:
            yield renaming, ""
        return
    async with redis.asyncio.Redis(port=server.port) as client:
        channels = () if release == "redis-6.0" else ("&*",)
        rules = ("reset", "on", f">{PASSWORD}", "~*", *channels, "+@all", f"-{command}")
        await client.execute_command("ACL", "SETUSER", "limited", *rules)
        yield server, f",user=limited,password={PASSWORD}"
        await client.execute_command("ACL", "DELUSER", "limited")


def errors(host: Host, function: str) -> float:
    """Return how many errors the host has counted, of whatever reason."""
    return metric(host, "triggerfish_source_errors_total", function)


def metric(host: Host, name: str, function: str) -> float:
    """Return the sum of a function's series."""
    samples = [sample for metric in host.registry.collect() for sample in metric.samples]
    return sum(sample.value for sample in samples if sample.name == name and sample.labels["function"] == function)


@pytest.fixture
def release(request: pytest.FixtureRequest) -> str:
    """The name of the server's release."""
    return str(request.node.callspec.params["server"])


@pytest.mark.releases(*TRACKING)
@pytest.mark.parametrize(("way", "command"), [("denied", "CLIENT"), ("renamed", "HELLO")])
async def test_changes_that_are_not_reported(
    server: Server, release: str, way: str, command: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Without client tracking the host polls, as before Redis 6.0, and says so: no error, no warning."""
    handled = list[str]()
    async with refusing(server, release, command, way) as (refuser, login):
        app = App()
        options: dict[str, Any] = {"polling_interval_ms": 20, "connection_string": refuser.address + login}

        @app.list_trigger(keys="q", **options)
        async def on_element(element: str) -> None:
            handled.append(element)

        @app.stream_trigger(keys="s", **options)
        async def on_entry(fields: dict[str, str]) -> None:
            handled.append(fields["number"])

        with caplog.at_level(logging.INFO), refuser.client() as client:
            async with running_host(refuser, app) as host:
                for number in range(3):
                    client.rpush("q", f"q{number}")
                    client.xadd("s", {"number": f"s{number}"})
                    await eventually(lambda: {f"q{number}", f"s{number}"} <= set(handled))  # noqa: B023
                for function in ("on_element", "on_entry"):
                    assert errors(host, function) == 0
                    assert metric(host, "triggerfish_source_polled", function) == 1
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    descriptions = [text for text in caplog.messages if "polled at intervals of up to 20 ms" in text]
    assert len(descriptions) == 2
    assert all(command.lower() in text.lower() for text in descriptions)


@pytest.mark.releases("redis-7.2", "valkey-9.1")
@pytest.mark.parametrize("way", WAYS)
async def test_several_lists_that_cannot_be_popped_together(
    server: Server, release: str, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Without LMPOP each key is read by LPOP, and none is left out."""
    handled = list[str]()
    async with refusing(server, release, "LMPOP", way) as (refuser, login):
        app = App()

        @app.list_trigger(keys="q r s", delivery="at-most-once", connection_string=refuser.address + login)
        async def on_element(element: str) -> None:
            handled.append(element)

        with refuser.client() as client:
            async with running_host(refuser, app) as host:
                for key in "qrs":
                    client.rpush(key, f"{key}1", f"{key}2")
                await eventually(lambda: sorted(handled) == ["q1", "q2", "r1", "r2", "s1", "s2"])
                assert errors(host, "on_element") == 0
    [warning] = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "lmpop" in warning.lower()


@pytest.mark.releases("redis-5.0", "redis-6.0", "redis-7.2", "valkey-9.1")
@pytest.mark.parametrize("way", WAYS)
async def test_connections_without_a_name(server: Server, release: str, way: str) -> None:
    """A refused CLIENT SETNAME or SETINFO is no reason not to connect."""
    if way == "denied" and release == "redis-5.0":
        return
    handled = list[str]()
    async with refusing(server, release, "CLIENT", way) as (refuser, login):
        app = App()
        address = f"{refuser.address}{login},defaultDatabase=1"

        @app.list_trigger(keys="q", connection_string=address)
        async def on_element(element: str) -> None:
            handled.append(element)

        @app.pubsub_trigger(channel="c", connection_string=address)
        async def on_message(message: str) -> None:
            handled.append(message)

        with refuser.client() as client:
            client.select(1)
            async with running_host(refuser, app) as host:
                client.rpush("q", "element")
                await eventually(lambda: client.publish("c", "message"))
                await eventually(lambda: {"element", "message"} <= set(handled))
                assert errors(host, "on_element") == errors(host, "on_message") == 0


@pytest.mark.releases("redis-6.0", "redis-7.2", "valkey-9.1")
async def test_the_name_of_connections(server: Server, run_host: RunHost) -> None:
    """Where the server does not refuse it, every connection has a name."""
    app = App()

    @app.list_trigger(keys="q")
    async def on_element(element: str) -> None: ...

    with server.client() as client:
        async with run_host(app):
            await eventually(lambda: all_named(client, "triggerfish:host:test:"))


def all_named(client: redis.Redis, prefix: str) -> bool:
    """Return whether the names of all connections but the client's begin with a prefix."""
    names = [each["name"] for each in client.client_list() if each["id"] != str(client.client_id())]
    return bool(names) and all(name.startswith(prefix) for name in names)


@pytest.mark.releases("redis-6.0", "redis-7.2", "valkey-9.1")
@pytest.mark.parametrize(
    ("way", "fix"),
    [("denied", "Allow it with the command that `triggerfish check --acl` prints"), ("renamed", "renamed")],
)
async def test_a_command_that_nothing_replaces(
    server: Server, release: str, way: str, fix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Without EVALSHA no list can be read: the error names it and the fix, once, although it is tried again."""
    async with refusing(server, release, "EVALSHA", way) as (refuser, login):
        app = App()

        @app.list_trigger(keys="q", polling_interval_ms=20, connection_string=refuser.address + login)
        async def on_element(element: str) -> None: ...

        async with running_host(refuser, app) as host:
            await eventually(lambda: errors(host, "on_element") >= 4)
    taking = [record.getMessage() for record in caplog.records if "taking from list" in record.getMessage()]
    assert len(taking) == 1, taking
    assert "evalsha" in taking[0].lower()
    assert fix in taking[0]
