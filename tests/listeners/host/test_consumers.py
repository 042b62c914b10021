"""Consumers of a stream that die, are foreign, or lose their entries or their group."""

import asyncio
from typing import Any

import pytest
import redis.asyncio

from tests.support.running_host import RunHost
from tests.support.trigger_kinds import (
    GROUP,
    KEY,
    add,
    settled,
)
from tests.support.waiting import eventually
from triggerfish import App

pytestmark = pytest.mark.usefixtures("quick_retries", "quick_reclaims")


async def left_by_a_dead_consumer(client: redis.asyncio.Redis, consumer: str, number: int) -> list[bytes]:
    """Leave entries pending for an hour under a dead consumer. Return their IDs."""
    for payload in range(number):
        await client.xadd(KEY, {"payload": str(payload)})
    await client.execute_command("XGROUP", "CREATE", KEY, GROUP, "0")
    ids = await read_as(client, consumer)
    await client.execute_command("XCLAIM", KEY, GROUP, consumer, 0, *ids, "IDLE", 3_600_000)
    return ids


async def read_as(client: redis.asyncio.Redis, consumer: str) -> list[bytes]:
    """Read all new entries as a consumer. Return their IDs."""
    ((_, entries),) = await client.execute_command("XREADGROUP", "GROUP", GROUP, consumer, "STREAMS", KEY, ">")
    return [entry_id for entry_id, _ in entries]


async def test_an_entry_of_another_consumer_is_not_renewed(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """A lease that ended unnoticed, as in a suspended process, is not renewed: another consumer has the entry."""
    app = App()
    call_started, may_finish = asyncio.Event(), asyncio.Event()

    @app.stream_trigger(keys=KEY, polling_interval_ms=20)
    async def on_entry(fields: dict[str, str]) -> None:
        call_started.set()
        await may_finish.wait()

    async def pending() -> dict[str, Any]:
        (entry,) = await client.xpending_range(KEY, GROUP, "-", "+", 1)
        return dict(entry)

    await add(client, "stream", "1")
    async with run_host(app, lease_seconds=1):
        await call_started.wait()
        await client.execute_command("XCLAIM", KEY, GROUP, "other", 0, (await pending())["message_id"])

        async def renewals_are_past() -> bool:
            return bool((await pending())["time_since_delivered"] > 800)

        await eventually(renewals_are_past)
        assert (await pending())["consumer"] == b"other"
        may_finish.set()


@pytest.mark.parametrize("command", ["XDEL", "XTRIM"])
async def test_entries_deleted_while_pending_are_settled(
    client: redis.asyncio.Redis, run_host: RunHost, command: str
) -> None:
    """Pending entries that were deleted or trimmed are acknowledged; the others are redelivered."""
    app, handled = App(), []

    @app.stream_trigger(keys=KEY, polling_interval_ms=20)
    async def on_entry(fields: dict[str, str]) -> None:
        handled.append(fields["payload"])

    ids = await left_by_a_dead_consumer(client, "triggerfish-dead", 4)
    if command == "XDEL":
        await client.xdel(KEY, ids[0], ids[2])
    else:
        await client.execute_command("XTRIM", KEY, "MAXLEN", "2")
    async with run_host(app):
        await eventually(lambda: settled(client, "stream"))
    assert sorted(handled) == (["1", "3"] if command == "XDEL" else ["2", "3"])


async def test_dead_consumers_are_removed(
    client: redis.asyncio.Redis, run_host: RunHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Consumers of dead instances that hold nothing are removed, also after their entries were taken over."""
    monkeypatch.setattr("listeners.streams.consumer.DEAD_LEASES", 0)
    monkeypatch.setattr("listeners.streams.consumer.MIN_DEAD_SECONDS", 0.0)
    monkeypatch.setattr("listeners.streams.source.TIDY_SECONDS", 0)
    app, handled = App(), []

    @app.stream_trigger(keys=KEY, polling_interval_ms=20)
    async def on_entry(fields: dict[str, str]) -> None:
        handled.append(fields["payload"])

    async def consumers() -> set[bytes]:
        return {consumer["name"] for consumer in await client.xinfo_consumers(KEY, GROUP)}

    async def only_live_consumers() -> bool:
        return {name.partition(b":")[0] for name in await consumers()} == {b"triggerfish-here", b"foreign"}

    await left_by_a_dead_consumer(client, "triggerfish-dead", 2)
    await client.xadd(KEY, {"payload": "2"})
    await client.xack(KEY, GROUP, *await read_as(client, "foreign"))
    async with run_host(app, instance="here"):
        await eventually(lambda: len(handled) == 2)
        await eventually(only_live_consumers)
    assert sorted(handled) == ["0", "1"]
    assert await consumers() == {b"foreign"}


@pytest.mark.parametrize("command", ["DEL", "XGROUP"])
async def test_a_missing_group_is_recreated(client: redis.asyncio.Redis, run_host: RunHost, command: str) -> None:
    """After DEL of the stream or XGROUP DESTROY under a running host, the next entry is delivered."""
    app, handled = App(), []

    @app.stream_trigger(keys=KEY, polling_interval_ms=100)
    async def on_entry(fields: dict[str, str]) -> None:
        handled.append(fields["payload"])

    async with run_host(app):
        await client.xadd(KEY, {"payload": "before"})
        await eventually(lambda: handled == ["before"])
        await eventually(lambda: settled(client, "stream"))
        await (client.delete(KEY) if command == "DEL" else client.xgroup_destroy(KEY, GROUP))
        await client.xadd(KEY, {"payload": "after"})
        await eventually(lambda: "after" in handled)
        await eventually(lambda: settled(client, "stream"))
    # A recreated group begins at 0, so entries that were handled and not deleted are redelivered.
    assert handled == ["before", "after"] if command == "DEL" else ["before", "before", "after"]
