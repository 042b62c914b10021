"""Settling succeeded entries in the step that takes the next ones."""

import asyncio

import pytest
import redis.asyncio

from tests.support.running_host import RunHost
from tests.support.trigger_kinds import Kind, add, both_kinds, payload_of, settled, trigger
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage
from triggerfish.testing.server import Server

pytestmark = pytest.mark.usefixtures("quick_retries", "quick_reclaims")

PASSWORD = "hidden-word"


async def calls(client: redis.asyncio.Redis, command: str) -> int:
    """Return how often the server ran a command."""
    statistics = await client.info("commandstats")
    return int(statistics.get(f"cmdstat_{command}", {"calls": 0})["calls"])


@pytest.mark.releases("redis-5.0", "redis-7.0", "valkey-9.1")
@both_kinds
@pytest.mark.parametrize("batch", [False, True])
async def test_a_backlog_takes_one_step_per_batch(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind, batch: bool
) -> None:
    """Handling 100 entries, 10 at a time, takes one script or MULTI per 10, whether entries or batches are passed."""
    app, handled = App(), list[str]()

    async def one(message: RedisMessage) -> None:
        handled.append(payload_of(message))

    async def many(messages: list[RedisMessage]) -> None:
        handled.extend(map(payload_of, messages))

    trigger(app, kind, batch_size=10)(many if batch else one)
    await add(client, kind, *map(str, range(100)))
    await client.config_resetstat()
    async with run_host(app):
        await eventually(lambda: len(handled) == 100)
        await eventually(lambda: settled(client, kind))
        # The first ten are taken alone, and a few polls before and after find nothing.
        steps = await calls(client, "evalsha" if kind == "list" else "exec")
    assert handled == [str(number) for number in range(100)]
    assert 10 <= steps <= 15


@pytest.mark.releases("redis-5.0", "valkey-9.1")
@both_kinds
async def test_a_step_takes_at_most_as_many_as_finished(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind
) -> None:
    """While some calls of a batch are running, a step takes only as many entries as have finished."""
    app, running, concurrent, handled = App(), set[str](), list[int](), list[str]()
    gate = asyncio.Event()

    @trigger(app, kind, batch_size=10)
    async def handle(message: RedisMessage) -> None:
        payload = payload_of(message)
        running.add(payload)
        concurrent.append(len(running))
        if int(payload) % 7 == 0:
            await gate.wait()
        running.discard(payload)
        handled.append(payload)

    await add(client, kind, *map(str, range(50)))
    async with run_host(app):
        await eventually(lambda: len(handled) == 42)  # the other 8 wait
        gate.set()
        await eventually(lambda: len(handled) == 50)
        await eventually(lambda: settled(client, kind))
    assert sorted(map(int, handled)) == list(range(50))
    assert max(concurrent) <= 10


@pytest.mark.releases("redis-7.0", "valkey-9.1")
@pytest.mark.parametrize(("kind", "command"), [("list", "zrem"), ("stream", "xack")])
async def test_denied_settling_pauses_consumption(
    client: redis.asyncio.Redis, run_host: RunHost, server: Server, kind: Kind, command: str
) -> None:
    """While entries cannot be settled, a function gets at most one batch; afterwards each entry is handled once."""
    app, handled = App(), list[str]()
    connection = f"{server.address},user=limited,password={PASSWORD}"
    rules = ("reset", "on", f">{PASSWORD}", "~*", "+@all", f"-{command}")
    await client.execute_command("ACL", "SETUSER", "limited", *rules)

    @trigger(app, kind, batch_size=10, connection_string=connection)
    async def handle(message: RedisMessage) -> None:
        handled.append(payload_of(message))

    await add(client, kind, *map(str, range(100)))
    try:
        async with run_host(app, ready=False) as host:
            labels = {"app": "test", "function": "handle", "reason": "access_denied"}
            await eventually(
                lambda: (host.registry.get_sample_value("triggerfish_source_errors_total", labels) or 0) >= 4
            )
            assert len(handled) == 10
            await client.execute_command("ACL", "SETUSER", "limited", f"+{command}")
            await eventually(lambda: len(handled) >= 100, seconds=20)
            await eventually(lambda: settled(client, kind))
    finally:
        await client.execute_command("ACL", "DELUSER", "limited")
    assert sorted(map(int, handled)) == list(range(100))
