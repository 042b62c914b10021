"""Redis outages: reading resumes by itself, and the failure of one trigger does not affect others."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
import redis.asyncio

from listeners.redis.client import Client
from tests.servers.catalogue import RELEASES, REPRESENTATIVE, available
from tests.support.running_host import RunHost, running_host
from tests.support.trigger_kinds import Kind, add, both_kinds, trigger
from tests.support.waiting import eventually
from triggerfish import App, Host, RedisMessage
from triggerfish.testing.server import Server


@pytest.fixture(params=[name for name in available() if name in (*REPRESENTATIVE, "redis-7.2", "redis-8.2")])
def own_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that the test may kill; it persists every write before it replies."""
    name: str = request.param
    with RELEASES[name].start("--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Detect a server that hangs after little more than the longest blocking read."""
    assert Client.__init__.__kwdefaults__ is not None
    monkeypatch.setitem(Client.__init__.__kwdefaults__, "timeout_seconds", 1.2)


def all_kinds(handled: list[str]) -> App:
    """Return an app with one function of each kind; they record payloads."""
    app = App("test")

    @app.list_trigger(keys="list")
    async def on_element(element: str) -> None:
        handled.append(element)

    @app.stream_trigger(keys="stream", polling_interval_ms=50)
    async def on_entry(fields: dict[str, str]) -> None:
        handled.append(fields["payload"])

    @app.pubsub_trigger(channel="pubsub")
    async def on_message(message: str) -> None:
        handled.append(message)

    return app


def metric(host: Host, name: str, function: str, **labels: str) -> float | None:
    return host.registry.get_sample_value(f"triggerfish_{name}", {"app": "test", "function": function, **labels})


def all_up(host: Host) -> bool:
    return all(metric(host, "source_up", listener.function.name) == 1 for listener in host.listeners)


async def feed(server: Server, handled: list[str], round_name: str) -> None:
    """Add one entry of each kind and wait until all are handled. Publish the message until it is handled."""
    message = f"message {round_name}"
    async with redis.asyncio.Redis(port=server.port, protocol=2) as client:
        await client.rpush("list", f"element {round_name}")
        await client.xadd("stream", {"payload": f"entry {round_name}"})

        async def message_is_handled() -> bool:
            if message not in handled:
                await client.publish("pubsub", message)
            return message in handled

        await eventually(message_is_handled)
    await eventually(lambda: set(fed(round_name)) <= set(handled))


def fed(round_name: str) -> list[str]:
    return [f"{kind} {round_name}" for kind in ("element", "entry", "message")]


@contextlib.asynccontextmanager
async def fed_host(server: Server, handled: list[str]) -> AsyncIterator[Host]:
    """A host with one function of each kind, each of which has handled an entry."""
    async with running_host(server, all_kinds(handled), pubsub_lease_seconds=1) as host:
        await feed(server, handled, "before")
        yield host


def count_log_lines(caplog: pytest.LogCaptureFixture, activity: str, text: str) -> int:
    """Count the lines with this text that an activity such as "on_entry: taking" has logged."""
    messages = [record.getMessage() for record in caplog.records]
    return sum(message.startswith(activity) and text in message for message in messages)


async def test_a_restart(own_server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """After the server is killed and restarted, every kind recovers; one line and a metric show each change."""
    handled: list[str] = []
    activities = ("on_element: taking", "on_entry: taking", "on_message: maintaining")
    functions = [activity.partition(":")[0] for activity in activities]
    with caplog.at_level(logging.INFO, "triggerfish.host"):
        async with fed_host(own_server, handled) as host:
            # While something is to be settled, nothing is taken.
            await eventually(
                lambda: all(metric(host, "entries_settled_total", each, outcome="succeeded") for each in functions)
            )
            own_server.process.kill()
            own_server.process.wait()
            await eventually(lambda: all(count_log_lines(caplog, activity, "retrying") for activity in activities))
            assert [metric(host, "source_up", function) for function in functions] == [0, 0, 0]
            await asyncio.to_thread(own_server.restart)
            await feed(own_server, handled, "after")
            await eventually(lambda: all_up(host))
            for function in functions:
                assert metric(host, "source_errors_total", function, reason="unavailable")
    for activity in activities:
        assert count_log_lines(caplog, activity, "retrying until it succeeds") == 1
        assert count_log_lines(caplog, activity, "recovered") == 1


@both_kinds
async def test_entries_in_progress_during_a_restart(own_server: Server, kind: Kind) -> None:
    """Entries whose function finishes while Redis is down are settled when it is back, and not handled twice."""
    app, started, gate = App(), [], asyncio.Event()

    @trigger(app, kind, max_deliveries=2)
    async def on_entry(message: RedisMessage) -> None:
        started.append(message.deliveries)
        await gate.wait()

    async with redis.asyncio.Redis(port=own_server.port, protocol=2) as client:
        await add(client, kind, "a", "b")
        async with running_host(own_server, app) as host:
            await eventually(lambda: len(started) == 2)
            own_server.process.kill()
            own_server.process.wait()
            gate.set()
            await eventually(lambda: metric(host, "source_errors_total", "on_entry", reason="unavailable"))
            await asyncio.to_thread(own_server.restart)
            await eventually(
                lambda: metric(host, "entries_settled_total", "on_entry", outcome="succeeded") == 2, seconds=15
            )
            await eventually(lambda: all_up(host))
            await add(client, kind, "later")
            await eventually(lambda: len(started) == 3)
    assert started == [1, 1, 1]


@pytest.mark.usefixtures("short_timeouts")
async def test_a_server_that_hangs(own_server: Server) -> None:
    """A server that stops responding is detected by a timeout; every kind recovers when it responds again."""
    handled: list[str] = []
    async with fed_host(own_server, handled) as host:
        own_server.process.send_signal(signal.SIGSTOP)
        try:
            await eventually(lambda: metric(host, "source_errors_total", "on_element", reason="timeout"))
            await eventually(lambda: metric(host, "source_errors_total", "on_entry", reason="timeout"))
            await eventually(lambda: metric(host, "source_errors_total", "on_message", reason="timeout"))
        finally:
            own_server.process.send_signal(signal.SIGCONT)
        await eventually(lambda: all_up(host))
        await feed(own_server, handled, "after")


@pytest.mark.parametrize("kind_of_client", ["normal", "pubsub"])
async def test_killed_connections(server: Server, client: redis.asyncio.Redis, kind_of_client: str) -> None:
    """After CLIENT KILL of its connections, every kind recovers, and list and stream entries are not handled twice."""
    handled: list[str] = []
    async with fed_host(server, handled):
        killed = await client.execute_command("CLIENT", "KILL", "TYPE", kind_of_client)
        assert killed >= 1
        await feed(server, handled, "after")
    for kept in ("element before", "entry before", "element after", "entry after"):
        assert handled.count(kept) == 1


async def test_a_key_of_the_wrong_type(
    client: redis.asyncio.Redis, run_host: RunHost, caplog: pytest.LogCaptureFixture
) -> None:
    """While its key has the wrong type, a trigger reports the error and the other works; then it recovers."""
    handled: list[str] = []
    app = all_kinds(handled)
    await client.set("list", "not a list")
    with caplog.at_level(logging.INFO, "triggerfish.host"):
        async with run_host(app) as host:
            await eventually(lambda: metric(host, "source_errors_total", "on_element", reason="wrong_type"))
            assert metric(host, "source_up", "on_element") == 0
            await client.xadd("stream", {"payload": "entry"})
            await eventually(lambda: handled == ["entry"])
            assert metric(host, "source_up", "on_entry") == 1
            assert count_log_lines(caplog, "on_element: taking", "wrong_type") == 1
            await client.delete("list")
            await client.rpush("list", "element")
            await eventually(lambda: handled == ["entry", "element"])
            await eventually(lambda: metric(host, "source_up", "on_element") == 1)
            assert count_log_lines(caplog, "on_element: taking", "recovered") == 1


async def test_a_stream_of_the_wrong_type(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """A stream that is replaced by another type and then recreated is read again."""
    handled: list[str] = []
    async with run_host(all_kinds(handled)) as host:
        await client.xadd("stream", {"payload": "before"})
        await eventually(lambda: handled == ["before"])
        await client.delete("stream")
        await client.set("stream", "not a stream")
        await eventually(lambda: metric(host, "source_errors_total", "on_entry", reason="wrong_type"))
        await client.delete("stream")
        await client.xadd("stream", {"payload": "after"})
        await eventually(lambda: handled == ["before", "after"])


@pytest.mark.releases(*(name for name in RELEASES if name != "redis-5.0"))
async def test_a_command_that_the_acl_denies(
    client: redis.asyncio.Redis, server: Server, run_host: RunHost, caplog: pytest.LogCaptureFixture
) -> None:
    """A trigger whose user may not read reports it without the password. Others work, and it recovers once allowed."""
    app, handled = App(), []
    secret = "hidden-word"

    @app.stream_trigger(
        keys="stream",
        polling_interval_ms=50,
        connection_string=f"{server.address},user=limited,password={secret}",
    )
    async def on_entry(fields: dict[str, str]) -> None:
        handled.append(fields["payload"])

    @app.list_trigger(keys="list")
    async def on_element(element: str) -> None:
        handled.append(element)

    await client.execute_command("ACL", "SETUSER", "limited", "reset", "on", f">{secret}", "~*", "+@all", "-xreadgroup")
    with caplog.at_level(logging.DEBUG):
        async with run_host(app) as host:
            await client.xadd("stream", {"payload": "entry"})
            await eventually(lambda: metric(host, "source_errors_total", "on_entry", reason="access_denied"))
            await client.rpush("list", "element")
            await eventually(lambda: handled == ["element"])
            await client.execute_command("ACL", "SETUSER", "limited", "+xreadgroup")
            await eventually(lambda: handled == ["element", "entry"])
    await client.execute_command("ACL", "DELUSER", "limited")
    assert count_log_lines(caplog, "on_entry: taking", "access_denied") == 1
    assert secret not in caplog.text


async def test_an_unreachable_connection(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """A trigger whose Redis is unreachable keeps the host from being ready, and affects no other trigger."""
    app, handled = App(), []

    @app.list_trigger(keys="far", connection_string="127.0.0.1:1")
    async def on_far(element: str) -> None:
        handled.append(element)

    @app.list_trigger(keys="list")
    async def on_element(element: str) -> None:
        handled.append(element)

    async with run_host(app, ready=False) as host:
        await client.rpush("list", "element")
        await eventually(lambda: handled == ["element"])
        await eventually(lambda: metric(host, "source_errors_total", "on_far", reason="unavailable"))
        assert not host.ready
