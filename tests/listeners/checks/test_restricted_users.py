"""A user who may not run a command that a trigger needs: nothing is lost or repeated, and the error is counted."""

import pytest
import redis.asyncio

from listeners.keys import elements_key, inflight_key
from tests.servers.catalogue import REPRESENTATIVE_WITH_ACL
from tests.support.running_host import RunHost
from tests.support.trigger_kinds import KEY, Kind, add, settled
from tests.support.waiting import eventually
from triggerfish import App, Host
from triggerfish.testing.server import Server

pytestmark = [
    pytest.mark.usefixtures("quick_retries", "quick_reclaims"),
    pytest.mark.releases(*REPRESENTATIVE_WITH_ACL),
]

PASSWORD = "hidden-word"
TAKING = ("evalsha", "time", "zrangebyscore", "lrange", "hset", "zadd", "ltrim", "zrange")
SETTLING = ("zrem", "hdel")
READING = ("xreadgroup", "xgroup")
ACKNOWLEDGING = ("xack",)


def denials(host: Host, function: str) -> float:
    """Return how many denied commands the host has counted."""
    labels = {"app": "test", "function": function, "reason": "access_denied"}
    return host.registry.get_sample_value("triggerfish_source_errors_total", labels) or 0


async def limit(client: redis.asyncio.Redis, *rules: str) -> None:
    """Apply rules to the user `limited`."""
    await client.execute_command("ACL", "SETUSER", "limited", *rules)


async def run_denied(
    client: redis.asyncio.Redis, run_host: RunHost, server: Server, command: str, *, kind: Kind, handles: bool
) -> list[str]:
    """Run a list or stream trigger whose user may not run a command, then may. Returns the handled payloads."""
    app, handled, others = App(), list[str](), list[str]()
    connection = f"{server.address},user=limited,password={PASSWORD}"

    async def on_entry(payload: str) -> None:
        handled.append(payload)

    if kind == "list":
        app.list_trigger(keys=KEY, batch_size=2, connection_string=connection)(on_entry)
    else:
        app.stream_trigger(keys=KEY, polling_interval_ms=20, connection_string=connection)(on_entry)
    await add(client, kind, "a", "b", "c")

    @app.list_trigger(keys="other")
    async def on_other(element: str) -> None:
        others.append(element)

    await limit(client, "reset", "on", f">{PASSWORD}", "~*", "+@all", f"-{command}")
    try:
        async with run_host(app, ready=False) as host:
            await eventually(lambda: denials(host, "on_entry") >= 3)
            await client.rpush("other", "element")
            await eventually(lambda: others == ["element"])
            assert bool(handled) is handles
            if kind == "list" and not handles:
                assert await client.lrange(KEY, 0, -1) == [b"a", b"b", b"c"]
                assert await recorded_in_progress(client) == 0
            await limit(client, f"+{command}")
            await eventually(lambda: len(handled) >= 3, seconds=20)
            await eventually(lambda: settled(client, kind), seconds=20)
    finally:
        await client.execute_command("ACL", "DELUSER", "limited")
    return sorted(handled)


async def recorded_in_progress(client: redis.asyncio.Redis) -> int:
    """Return how many elements are recorded as in progress."""
    return int(await client.zcard(inflight_key(KEY))) + int(await client.hlen(elements_key(KEY)))


@pytest.mark.parametrize("command", TAKING)
async def test_a_list_that_cannot_be_taken_from(
    client: redis.asyncio.Redis, run_host: RunHost, server: Server, command: str
) -> None:
    """If a command for taking is denied, the list is unchanged. Once it is allowed, each element is handled once."""
    handled = await run_denied(client, run_host, server, command, kind="list", handles=False)
    assert handled == ["a", "b", "c"]


@pytest.mark.parametrize("command", SETTLING)
async def test_a_list_whose_elements_cannot_be_settled(
    client: redis.asyncio.Redis, run_host: RunHost, server: Server, command: str
) -> None:
    """If a command for settling is denied, handled elements stay in progress. None is handled twice."""
    handled = await run_denied(client, run_host, server, command, kind="list", handles=True)
    assert handled == ["a", "b", "c"]
    assert await recorded_in_progress(client) == 0


@pytest.mark.parametrize("command", [*READING, *ACKNOWLEDGING])
async def test_a_stream_that_cannot_be_read_or_acknowledged(
    client: redis.asyncio.Redis, run_host: RunHost, server: Server, command: str
) -> None:
    """If a command for reading or acknowledging is denied, nothing is lost, and each entry is handled once."""
    handles = command in ACKNOWLEDGING
    handled = await run_denied(client, run_host, server, command, kind="stream", handles=handles)
    assert handled == [f'{{"payload":"{payload}"}}' for payload in "abc"]
