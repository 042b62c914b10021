"""Entries that come back without an outcome: only calls count, and a death only against what ran alone."""

import asyncio
from collections import Counter

import pytest
import redis.asyncio

from listeners.errors import SourceUnavailableError
from listeners.functions.triggers import ListTrigger, StreamTrigger, Trigger
from listeners.keys import dead_letters_key
from listeners.lists.source import ListSource
from listeners.streams.held import HeldEntries
from listeners.streams.source import StreamSource
from tests.support.programs.hosts import restarted_host
from tests.support.running_host import RunHost
from tests.support.trigger_kinds import KEY, Kind, add, both_kinds, dead_letters, payload_of, settled, trigger
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage
from triggerfish.testing.server import Server

APP = "tests.apps.hazards"
MAX_DELIVERIES = 2  # of the app
RELEASES = ("redis-5.0", "valkey-9.1")


async def calls(client: redis.asyncio.Redis) -> list[str]:
    """Return the payloads of all calls, in order."""
    lines = await client.execute_command("LRANGE", "calls", 0, -1)
    return [line.decode().partition(" ")[0] for line in lines]


async def handled(client: redis.asyncio.Redis) -> Counter[str]:
    """Return how often each payload was handled."""
    return Counter(payload.decode() for payload in await client.execute_command("LRANGE", "handled", 0, -1))


async def all_handled(client: redis.asyncio.Redis, payloads: list[str]) -> bool:
    """Return whether each payload was handled at least once."""
    return set(await handled(client)) == set(payloads)


def trigger_of(kind: Kind) -> Trigger:
    """Return a trigger of this kind on the key of `add`."""
    return ListTrigger(keys=(KEY,)) if kind == "list" else StreamTrigger(keys=(KEY,), polling_interval_ms=20)


def payload_in(letter: dict[bytes, bytes], kind: Kind) -> str:
    """Return the payload of a dead letter."""
    return letter[b"payload" if kind == "list" else b"field:payload"].decode()


@pytest.mark.releases("redis-5.0", "valkey-9.1")
@both_kinds
async def test_a_poison_takes_no_innocent_with_it(client: redis.asyncio.Redis, server: Server, kind: Kind) -> None:
    """Of forty entries one ends its process: it alone is dead-lettered, after at most max_deliveries + 1 deaths."""
    key = f"hazards:{kind}"
    await add(client, kind, *(f"good{number}" if number != 5 else "poison" for number in range(40)), key=key)
    async with restarted_host(server, app=APP, lease_seconds=1) as processes:
        await eventually(lambda: dead_letters(client, key=key), seconds=90)
        await eventually(lambda: settled(client, kind, key=key), seconds=90)
        deaths = len(processes) - 1
    assert [payload_in(letter, kind) for letter in await dead_letters(client, key=key)] == ["poison"]
    assert set(await handled(client)) == {f"good{number}" for number in range(40) if number != 5}
    assert deaths == Counter(await calls(client))["poison"]
    assert MAX_DELIVERIES <= deaths <= MAX_DELIVERIES + 1
    (letter,) = await dead_letters(client, key=key)
    assert b"alone in its process" in letter[b"error"]


@pytest.mark.releases(*RELEASES)
@both_kinds
@pytest.mark.parametrize("hazard", ["block", "gil"])
async def test_a_call_that_outlasts_the_lease_unrenewed_costs_no_entry(
    client: redis.asyncio.Redis,
    server: Server,
    kind: Kind,
    hazard: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Calls that block the event loop or the GIL for longer than the lease delay others; all are called."""
    monkeypatch.setenv("HAZARD_SECONDS", "1.5")
    key, payloads = f"hazards:{kind}", [f"{hazard}{number}" for number in range(4)]
    await add(client, kind, *payloads, key=key)
    async with restarted_host(server, app=APP, lease_seconds=1):
        await eventually(lambda: all_handled(client, payloads), seconds=60)
        await eventually(lambda: settled(client, kind, key=key), seconds=60)
    assert await dead_letters(client, key=key) == []
    assert set(await handled(client)) == set(payloads)


@pytest.mark.releases(*RELEASES)
@pytest.mark.usefixtures("quick_reclaims")
@both_kinds
async def test_a_suspect_runs_while_no_other_call_does(
    client: redis.asyncio.Redis, server: Server, run_host: RunHost, kind: Kind
) -> None:
    """While a suspect is called, no call of any list or stream function starts or runs; afterwards they go on."""
    app, running, seen = App(), set[str](), list[tuple[str, set[str]]]()
    other_kind: Kind = "stream" if kind == "list" else "list"
    key = f"hazards:{kind}"

    async def record(message: RedisMessage) -> None:
        payload = payload_of(message)
        running.add(payload)
        seen.append((payload, set(running)))
        await asyncio.sleep(0.001)
        running.discard(payload)

    trigger(app, kind, keys=key)(record)
    app.add(record, trigger_of(other_kind), name="other")
    await add(client, kind, "poison", key=key)
    async with restarted_host(server, app=APP, lease_seconds=1) as processes:
        await eventually(lambda: len(processes) > 1 and processes[0].poll() is not None)
    await client.delete("calls")
    await add(client, other_kind, *map(str, range(300)))
    async with run_host(app, lease_seconds=1):
        await eventually(lambda: any(payload == "poison" for payload, _ in seen))
        await eventually(lambda: len(seen) >= 301)
    [beside] = [others for payload, others in seen if payload == "poison"]
    assert beside == {"poison"}
    assert not any("poison" in others for payload, others in seen if payload != "poison")
    assert await dead_letters(client, key=key) == []


@pytest.mark.releases(*RELEASES)
@pytest.mark.usefixtures("quick_reclaims", "quick_retries")
@both_kinds
async def test_a_suspect_that_cannot_be_settled_stops_no_other(
    client: redis.asyncio.Redis, server: Server, run_host: RunHost, kind: Kind
) -> None:
    """While Redis refuses to dead-letter a suspect, all other functions and entries go on."""
    app, seen = App(), list[str]()
    other_kind: Kind = "stream" if kind == "list" else "list"
    key = f"hazards:{kind}"

    @trigger(app, kind, keys=key, max_deliveries=1)
    async def refuse(message: RedisMessage) -> None:
        seen.append(payload_of(message))
        if payload_of(message) == "poison":
            raise ValueError("no")

    async def record(message: RedisMessage) -> None:
        seen.append(payload_of(message))

    app.add(record, trigger_of(other_kind), name="other")
    await add(client, kind, "poison", key=key)
    async with restarted_host(server, app=APP, lease_seconds=1) as processes:
        await eventually(lambda: len(processes) > 1 and processes[0].poll() is not None)
    await client.set(dead_letters_key(key), "of the wrong type")
    async with run_host(app, lease_seconds=1) as host:
        await eventually(lambda: "poison" in seen)
        await add(client, other_kind, "a", "b")
        await add(client, kind, "c", key=key)
        await eventually(lambda: {"a", "b", "c"} <= set(seen))
        await client.delete(dead_letters_key(key))
        labels = {"app": "test", "function": "refuse", "outcome": "dead_lettered"}
        await eventually(lambda: host.registry.get_sample_value("triggerfish_entries_settled_total", labels) == 1)
    assert seen.count("poison") == 1
    (letter,) = await dead_letters(client, key=key)
    assert payload_in(letter, kind) == "poison"


@pytest.mark.releases("redis-5.0", "valkey-9.1")
@pytest.mark.usefixtures("quick_reclaims")
@both_kinds
@pytest.mark.parametrize("begin_seconds", [1.0, 3600.0], ids=["given back", "tried again"])
async def test_a_suspect_whose_call_cannot_begin(
    client: redis.asyncio.Redis,
    server: Server,
    run_host: RunHost,
    kind: Kind,
    *,
    begin_seconds: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While Redis cannot be told of a suspect's call, other calls go on; afterwards it is found and called again."""
    app, seen, refused = App(), list[str](), 0
    source: type[ListSource | StreamSource] = ListSource if kind == "list" else StreamSource
    other_kind: Kind = "stream" if kind == "list" else "list"
    key = f"hazards:{kind}"

    async def record(message: RedisMessage) -> None:
        seen.append(payload_of(message))

    async def unreachable(*_: object, **__: object) -> bool:
        nonlocal refused
        refused += 1
        raise SourceUnavailableError("no connection")

    trigger(app, kind, keys=key)(record)
    app.add(record, trigger_of(other_kind), name="other")
    await add(client, kind, "poison", key=key)
    async with restarted_host(server, app=APP, lease_seconds=1) as processes:
        await eventually(lambda: len(processes) > 1 and processes[0].poll() is not None)
    monkeypatch.setattr("listeners.engine.suspects.BEGIN_SECONDS", begin_seconds)
    with monkeypatch.context() as broken:
        broken.setattr(source, "begin", unreachable)
        broken.setattr(HeldEntries, "_release", unreachable)
        async with run_host(app, lease_seconds=1):
            await eventually(lambda: refused > 0)
            await add(client, other_kind, *map(str, range(5)))
            await eventually(lambda: len(seen) == 5)
            await eventually(lambda: refused > 3)
            broken.undo()
            await eventually(lambda: "poison" in seen)
    assert await dead_letters(client, key=key) == []
