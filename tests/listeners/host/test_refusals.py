"""Redis refuses commands: read-only, out of memory, loading. Nothing is lost, and reading resumes by itself."""

import asyncio
import functools
import logging
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError

from listeners.keys import dead_letters_key, elements_key, inflight_key
from tests.servers.catalogue import RELEASES, available, present
from tests.support.running_host import running_host
from tests.support.waiting import eventually
from triggerfish import App, Host
from triggerfish.testing.server import Server, free_port

#: Large enough for a few elements to exceed a memory limit.
PAYLOAD = "x" * 10_000
#: Adds ARGV[2] keys of ARGV[3] bytes. Loading them takes the server a moment, during which it replies.
FILL = """
for i = ARGV[1] + 1, ARGV[1] + ARGV[2] do redis.call('SET', 'filler:' .. i, string.rep('x', tonumber(ARGV[3]))) end
"""
FUNCTIONS = ("on_element", "on_entry", "on_message")


@pytest.fixture(params=available())
def own_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server whose settings the test may change."""
    name: str = request.param
    with RELEASES[name].start() as server:
        yield server


@pytest.fixture
async def admin(own_server: Server) -> AsyncIterator[redis.asyncio.Redis]:
    """A client for the test."""
    async with redis.asyncio.Redis(port=own_server.port, protocol=2) as connected:
        yield connected


def every_kind(handled: list[str]) -> App:
    """Return an app with one function of each kind; they record payloads."""
    app = App("test")

    @app.list_trigger(keys="list")
    async def on_element(element: str) -> None:
        handled.append(element)

    @app.stream_trigger(keys="stream", polling_interval_ms=20)
    async def on_entry(fields: dict[str, str]) -> None:
        handled.append(fields["payload"])

    @app.pubsub_trigger(channel="channel")
    async def on_message(message: str) -> None:
        handled.append(message)

    return app


def metric(host: Host, name: str, function: str, **labels: str) -> float:
    return host.registry.get_sample_value(f"triggerfish_{name}", {"app": "test", "function": function, **labels}) or 0


def unavailable(host: Host, function: str) -> bool:
    """Return whether the function's Redis has refused a command as temporarily unavailable."""
    return metric(host, "source_errors_total", function, reason="unavailable") > 0


async def all_up(host: Host) -> bool:
    return all(metric(host, "source_up", function) == 1 for function in FUNCTIONS)


async def message_is_handled(client: redis.asyncio.Redis, handled: list[str]) -> bool:
    """Publish a message. Return whether one was handled."""
    await client.publish("channel", "message")
    return "message" in handled


def count_log_lines(caplog: pytest.LogCaptureFixture, activity: str, text: str) -> int:
    """Count the lines with this text that an activity has logged."""
    lines = [record.getMessage() for record in caplog.records]
    return sum(line.startswith(activity) and text in line for line in lines)


async def test_a_redis_that_becomes_read_only(
    own_server: Server, admin: redis.asyncio.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """When a primary becomes a replica, each kind logs it once; when it is a primary again, reading resumes."""
    handled: list[str] = []
    with caplog.at_level(logging.INFO, "triggerfish.host"):
        async with running_host(own_server, every_kind(handled), pubsub_lease_seconds=1) as host:
            await eventually(lambda: message_is_handled(admin, handled))
            await admin.execute_command("REPLICAOF", "127.0.0.1", free_port())
            for function in ("on_entry", "on_message"):
                await eventually(functools.partial(unavailable, host, function))
            assert metric(host, "source_up", "on_entry") == 0
            await admin.execute_command("REPLICAOF", "NO", "ONE")
            handled.clear()
            await admin.rpush("list", "element")
            await admin.xadd("stream", {"payload": "entry"})
            await eventually(lambda: {"element", "entry"} <= set(handled))
            await eventually(lambda: message_is_handled(admin, handled))
            await eventually(lambda: all_up(host))
    assert (
        count_log_lines(caplog, "on_entry: taking", "retrying")
        == count_log_lines(caplog, "on_entry: taking", "recovered")
        == 1
    )
    # Before 6.2 an idle list is only checked, which a replica allows.
    assert (
        count_log_lines(caplog, "on_element: taking", "retrying")
        == count_log_lines(caplog, "on_element: taking", "recovered")
        <= 1
    )
    assert count_log_lines(caplog, "on_", "group_missing") == count_log_lines(caplog, "on_", "recreated") == 0


async def test_a_redis_that_is_read_only(
    own_server: Server, admin: redis.asyncio.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is taken from a replica or changed in it; a line gives the reason. Once it is a primary it is read."""
    handled: list[str] = []
    await admin.rpush("list", "a", "b")
    await admin.xadd("stream", {"payload": "c"})
    await admin.execute_command("REPLICAOF", "127.0.0.1", free_port())
    with caplog.at_level(logging.INFO, "triggerfish.host"):
        async with running_host(own_server, every_kind(handled), ready=False, pubsub_lease_seconds=1) as host:
            for function in FUNCTIONS:
                await eventually(functools.partial(unavailable, host, function))
            assert await admin.lrange("list", 0, -1) == [b"a", b"b"]
            assert await admin.keys("triggerfish:*") == []
            await admin.execute_command("REPLICAOF", "NO", "ONE")
            await eventually(lambda: {"a", "b", "c"} <= set(handled))
            await eventually(lambda: message_is_handled(admin, handled))
            await eventually(lambda: all_up(host))
    for activity in ("on_element: taking", "on_entry: opening", "on_message: maintaining"):
        assert count_log_lines(caplog, activity, "You can't write against a read only replica") == 1
        assert count_log_lines(caplog, activity, "recovered") == 1


async def test_a_redis_that_is_out_of_memory(
    own_server: Server, admin: redis.asyncio.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Out of memory, nothing is taken from a list and nothing changes; with more memory everything is handled once."""
    handled: list[str] = []
    elements = [f"{number} {PAYLOAD}" for number in range(50)]
    await admin.rpush("list", *elements)
    await admin.config_set("maxmemory-policy", "noeviction")
    await admin.config_set("maxmemory", 100_000)
    with caplog.at_level(logging.INFO, "triggerfish.host"):
        async with running_host(own_server, every_kind(handled), ready=False, pubsub_lease_seconds=1) as host:
            await eventually(lambda: metric(host, "source_errors_total", "on_element", reason="unavailable") >= 3)
            assert metric(host, "source_up", "on_element") == 0
            assert await admin.lrange("list", 0, -1) == [element.encode() for element in elements]
            assert await admin.exists(inflight_key("list"), elements_key("list")) == 0
            await admin.config_set("maxmemory", 0)
            await eventually(lambda: len(handled) == 50)
            await admin.xadd("stream", {"payload": "entry"})
            await eventually(lambda: "entry" in handled)
            await eventually(lambda: message_is_handled(admin, handled))
            await eventually(lambda: all_up(host))
    assert sorted(handled[:50]) == sorted(elements)
    assert count_log_lines(caplog, "on_element: taking", "maxmemory") == 1
    assert await admin.llen("list") == await admin.zcard(inflight_key("list")) == 0


def settled_as(host: Host, outcome: str) -> float | None:
    """Return how many elements have this outcome."""
    return metric(host, "entries_settled_total", "on_element", outcome=outcome)


async def test_out_of_memory_with_entries_in_progress(own_server: Server, admin: redis.asyncio.Redis) -> None:
    """Entries in progress when memory runs out are settled, at the latest once there is memory."""
    app, started, gate = App("test"), list[str](), asyncio.Event()

    @app.list_trigger(keys="list", max_deliveries=1)
    async def on_element(element: str) -> None:
        started.append(element)
        await gate.wait()
        if element == "bad":
            raise ValueError("no good")

    await admin.rpush("list", "good", "bad")
    async with running_host(own_server, app) as host:
        await eventually(lambda: len(started) == 2)
        await admin.config_set("maxmemory", 100_000)
        gate.set()
        # Some releases refuse even a script that only frees memory.
        await eventually(lambda: unavailable(host, "on_element") or settled_as(host, "dead_lettered") == 1)
        await admin.config_set("maxmemory", 0)
        await eventually(lambda: admin.exists(dead_letters_key("list")))
        await eventually(lambda: settled_as(host, "succeeded") == 1)
    assert await admin.xlen(dead_letters_key("list")) == 1
    assert await admin.zcard(inflight_key("list")) == 0
    assert sorted(started) == ["bad", "good"]


async def is_loading(server: Server) -> bool:
    """Return whether the server replies that it is loading."""
    async with redis.asyncio.Redis(port=server.port, protocol=2, retry=Retry(NoBackoff(), 0)) as client:
        try:
            await client.ping()
        except BusyLoadingError:
            return True
        except redis.exceptions.ConnectionError:  # not listening yet
            pass
    return False


@pytest.mark.parametrize("own_server", present("redis-5.0", "valkey-9.1"), indirect=True)
async def test_a_redis_that_loads(
    own_server: Server, admin: redis.asyncio.Redis, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every trigger waits while a restarted Redis loads its data; then the saved entries are handled."""
    handled: list[str] = []
    monkeypatch.setattr("listeners.engine.resilient_loop.LAST_PAUSE_SECONDS", 0.05)  # loading takes a moment only
    await admin.config_set("rdbcompression", "no")
    for first in range(0, 400_000, 20_000):
        await admin.eval(FILL, 0, first, 20_000, 300)
    await admin.rpush("list", "element")
    await admin.execute_command("XGROUP", "CREATE", "stream", "AzureFunctionRedisExtension", "0", "MKSTREAM")
    await admin.xadd("stream", {"payload": "entry"})
    await admin.execute_command("SAVE")
    own_server.process.send_signal(signal.SIGKILL)
    own_server.process.wait()
    async with running_host(own_server, every_kind(handled), ready=False) as host:
        starting = asyncio.create_task(asyncio.to_thread(own_server.restart))
        await eventually(lambda: is_loading(own_server))
        await eventually(lambda: {"element", "entry"} <= set(handled), seconds=30)
        await starting
        await eventually(lambda: message_is_handled(admin, handled))
        await eventually(lambda: all_up(host))
    assert sorted(entry for entry in handled if entry != "message") == ["element", "entry"]
    reasons = {
        line.split("; retrying")[0].rpartition("(")[2] for line in caplog.text.splitlines() if "; retrying" in line
    }
    assert reasons == {"unavailable)"}
