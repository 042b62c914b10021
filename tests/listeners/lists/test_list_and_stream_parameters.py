"""Behaviour of list and stream triggers and their parameters, on every server release."""

import asyncio
import contextlib
import functools
import logging
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from tests.servers.catalogue import RELEASES, REPRESENTATIVE
from tests.support.programs.hosts import host_processes
from tests.support.running_host import RunHost
from tests.support.trigger_kinds import GROUP, KINDS, Kind, add, both_kinds, reached, recorded, settled, trigger
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage
from triggerfish.testing.server import Server


async def test_every_element_is_handled_and_the_list_ends_empty(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """RPUSH q a b calls the handler for both; nothing is left in the list or in flight."""
    app, handled = App(), []

    @app.list_trigger(keys="q")
    async def on_element(message: RedisMessage) -> None:
        handled.append((message.trigger, message.message))

    async with run_host(app):
        await client.rpush("q", "a", "b")
        await eventually(lambda: len(handled) == 2, seconds=1)
        await eventually(lambda: settled(client, "list", key="q"), seconds=1)
    assert handled == [("q", "a"), ("q", "b")]
    assert await client.llen("q") == 0


@pytest.mark.parametrize("delivery", ["at-least-once", "at-most-once"])
@pytest.mark.parametrize(("from_beginning", "order"), [(True, ["1", "2", "3"]), (False, ["3", "2", "1"])])
async def test_elements_are_taken_from_either_end(
    client: redis.asyncio.Redis, run_host: RunHost, from_beginning: bool, order: list[str], delivery: str
) -> None:
    """Elements are delivered in list order from the beginning, and in reverse order from the end."""
    app, handled = App(), []

    @app.list_trigger(keys="q", batch_size=1, list_pop_from_beginning=from_beginning, delivery=delivery)
    async def on_element(element: str) -> None:
        handled.append(element)

    await client.rpush("q", "1", "2", "3")
    async with run_host(app):
        await eventually(lambda: len(handled) == 3)
    assert handled == order


@pytest.mark.parametrize("from_beginning", [True, False])
async def test_a_batch_keeps_the_order(client: redis.asyncio.Redis, run_host: RunHost, from_beginning: bool) -> None:
    """A batch contains its elements in the order in which they were taken."""
    app, calls = App(), []

    @app.list_trigger(keys="q", list_pop_from_beginning=from_beginning)
    async def on_batch(elements: list[str]) -> None:
        calls.append(elements)

    await client.rpush("q", "1", "2", "3")
    async with run_host(app):
        await eventually(lambda: calls)
    assert calls == [["1", "2", "3"] if from_beginning else ["3", "2", "1"]]


@pytest.mark.releases(*REPRESENTATIVE)
async def test_three_processes_share_the_work(server: Server, client: redis.asyncio.Redis) -> None:
    """Each of 1,000 entries is handled once, and each of three processes handles some, with its own consumer."""
    pushed = [str(number) for number in range(1000)]
    async with host_processes(server, client, "one", "two", "three"):
        for kind in KINDS:
            await add(client, kind, *pushed, key=f"work:{kind}")
        for kind in KINDS:
            await eventually(functools.partial(reached, client, f"handled:{kind}", 1000), seconds=30)
            await eventually(functools.partial(settled, client, kind, key=f"work:{kind}"))
        consumers = {consumer["name"] for consumer in await client.xinfo_consumers("work:stream", GROUP)}
    assert consumers == {b"triggerfish-one", b"triggerfish-two", b"triggerfish-three"}
    for kind in KINDS:
        lines = [line.split() for line in await recorded(client, f"handled:{kind}")]
        assert Counter(payload for _, payload, _ in lines) == Counter(pushed)
        assert {instance for instance, _, _ in lines} == {"one", "two", "three"}


@pytest.mark.releases(*REPRESENTATIVE)
@pytest.mark.parametrize(("number", "calls"), [(1000, [10] * 100), (1005, [10] * 100 + [5])])
@both_kinds
async def test_a_list_parameter_gets_full_batches(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind, number: int, calls: list[int]
) -> None:
    """A backlog is delivered in full batches; only the last one may be smaller."""
    app, handled = App(), []

    @trigger(app, kind, batch_size=10)
    async def on_batch(payloads: list[str]) -> None:
        handled.append(len(payloads))

    await add(client, kind, *map(str, range(number)))
    async with run_host(app):
        await eventually(lambda: sum(handled) >= number)
    assert handled == calls


async def test_several_keys_at_least_once(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """Elements of several keys are handled with the right trigger key on every version."""
    app, handled = App(), Counter[str]()

    @app.list_trigger(keys="k1 k2 k3")
    async def on_element(message: RedisMessage) -> None:
        assert message.message.startswith(message.trigger)
        handled[message.trigger] += 1

    for key in ("k1", "k2", "k3"):
        await client.rpush(key, *(f"{key}-{number}" for number in range(6)))
    async with run_host(app):
        await eventually(lambda: handled == {"k1": 6, "k2": 6, "k3": 6})


async def test_several_keys_at_most_once(
    client: redis.asyncio.Redis, run_host: RunHost, version: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Plain pops read several keys from Redis 7.0. Before, they read only the first; a warning names the others."""
    app, handled = App(), []

    @app.list_trigger(keys="k1 k2 k3", delivery="at-most-once", batch_size=2)
    async def on_element(message: RedisMessage) -> None:
        handled.append(message.trigger)

    for key in ("k3", "k2", "k1"):
        await client.rpush(key, *range(6))
    with caplog.at_level(logging.INFO, "triggerfish.host"):
        async with run_host(app):
            await eventually(lambda: handled.count("k1") == 6)
            if version >= (7,):
                await eventually(lambda: Counter(handled) == {"k1": 6, "k2": 6, "k3": 6})
            else:  # once a later element of the first key is handled, every key would have been polled
                await client.rpush("k1", "later")
                await eventually(lambda: handled == ["k1"] * 7)
    warned = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [("k2 k3 are not read" in record.getMessage()) for record in warned] == ([] if version >= (7,) else [True])


@pytest.mark.parametrize("from_beginning", [True, False])
@pytest.mark.parametrize("keys", ["q", "q other"])
async def test_the_commands_of_plain_pops(
    client: redis.asyncio.Redis, run_host: RunHost, version: tuple[int, ...], keys: str, from_beginning: bool
) -> None:
    """Several keys are read by LMPOP from 7.0, one by LPOP or RPOP, with a count from 6.2; never by a script."""
    app, handled = App(), []

    @app.list_trigger(keys=keys, delivery="at-most-once", list_pop_from_beginning=from_beginning, polling_interval_ms=5)
    async def on_element(element: str) -> None:
        handled.append(element)

    seen: set[str] = set()
    async with watched_commands(client, seen), run_host(app):
        await client.rpush("q", "a", "b", "c")
        await eventually(lambda: len(handled) == 3)
    assert sorted(handled) == ["a", "b", "c"]
    pop = "LPOP" if from_beginning else "RPOP"
    if version >= (7,) and " " in keys:
        pop = "LMPOP"
    assert {command.split()[0] for command in seen} & {"LPOP", "RPOP", "LMPOP", "EVAL", "EVALSHA"} == {pop}
    arguments = {len(command.split()) - 1 for command in seen if command.startswith(f"{pop} ")}
    assert arguments == ({6} if pop == "LMPOP" else {2} if version >= (6, 2) else {1})


async def test_a_stream_entry_as_json(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """The JSON of an entry contains its stream and its fields; the entry is acknowledged afterwards."""
    app, handled = App(), []

    @app.stream_trigger(keys="s", polling_interval_ms=20)
    async def on_entry(message: RedisMessage) -> None:
        handled.append(message)

    async with run_host(app):
        added = await client.execute_command("XADD", "s", "*", "a", "b", "c", "d")
        await eventually(lambda: handled)
        await eventually(lambda: settled(client, "stream", key="s"))
    (message,) = handled
    assert message.to_json() == r'{"Trigger":"s","Message":"{\"a\":\"b\",\"c\":\"d\"}"}'
    assert message.id == added.decode()
    assert message.fields == {"a": "b", "c": "d"}


async def test_entries_added_before_the_first_start(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """Entries added before the group existed are delivered, in order."""
    app, handled = App(), []

    @app.stream_trigger(keys="s", polling_interval_ms=20, batch_size=1)
    async def on_entry(fields: dict[str, str]) -> None:
        handled.append(fields["payload"])

    await add(client, "stream", "1", "2", "3", key="s")
    async with run_host(app):
        await eventually(lambda: len(handled) == 3)
    assert handled == ["1", "2", "3"]


@pytest.mark.parametrize("delete", [True, False])
async def test_delete_after_process(client: redis.asyncio.Redis, run_host: RunHost, delete: bool) -> None:
    """Handled entries are deleted from the stream only on request; nothing is pending in either case."""
    app, handled = App(), []

    @app.stream_trigger(keys="s", polling_interval_ms=20, delete_after_process=delete)
    async def on_entry(fields: dict[str, str]) -> None:
        handled.append(fields["payload"])

    await add(client, "stream", *"abc", key="s")
    async with run_host(app):
        await eventually(lambda: len(handled) == 3)
        await eventually(lambda: settled(client, "stream", key="s"))
    assert await client.xlen("s") == (0 if delete else 3)


@pytest.mark.parametrize(("groups", "copies"), [(("g1", "g2"), 2), (("g1", "g1"), 1)])
async def test_two_functions_on_one_stream(
    client: redis.asyncio.Redis, run_host: RunHost, groups: tuple[str, str], copies: int
) -> None:
    """Functions with different groups each get every entry; functions with the same group share them."""
    app, handled = App(), Counter[str]()

    async def first(fields: dict[str, str]) -> None:
        handled[fields["payload"]] += 1

    async def second(fields: dict[str, str]) -> None:
        handled[fields["payload"]] += 1

    for function, group in zip((first, second), groups, strict=True):
        app.stream_trigger(keys="s", consumer_group=group, polling_interval_ms=20)(function)
    async with run_host(app):
        await add(client, "stream", *map(str, range(50)), key="s")
        await eventually(lambda: handled.total() >= 50 * copies)
        for group in groups:
            await eventually(functools.partial(none_pending, client, "s", group))
    assert handled == {str(number): copies for number in range(50)}


@pytest.mark.releases(*(name for name in RELEASES if name != "redis-5.0"))  # which has no client tracking
async def test_connections_are_named(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """The name of every host connection contains the app and the instance."""
    app = App("shop")
    over = asyncio.Event()

    @app.list_trigger(keys="q")
    async def on_element(element: str) -> None:
        await over.wait()

    @app.stream_trigger(keys="s", polling_interval_ms=20)
    async def on_entry(fields: dict[str, str]) -> None: ...

    @app.pubsub_trigger(channel="c")
    async def on_message(message: str) -> None: ...

    own = await client.client_id()
    name = "triggerfish:host:shop:here"
    # Leases are renewed from the first entry on.
    expected = {name, f"{name}:tracking", f"{name}:leases"}

    async def named() -> bool:
        others = [connection for connection in await client.client_list() if int(connection["id"]) != own]
        return {connection["name"] for connection in others} == expected

    async def subscribed() -> bool:
        ((_, number),) = await client.pubsub_numsub("c")
        return bool(number == 1)

    async with run_host(app, instance="here", lease_seconds=1):
        await eventually(subscribed)
        await client.rpush("q", "x")
        await eventually(named)
        over.set()


async def none_pending(client: redis.asyncio.Redis, key: str, group: str) -> bool:
    return bool((await client.xpending(key, group))["pending"] == 0)


@contextlib.asynccontextmanager
async def watched_commands(client: redis.asyncio.Redis, seen: set[str]) -> AsyncIterator[None]:
    """Collect the commands that the server receives within the block in `seen`."""
    async with client.monitor() as monitor:

        async def collect() -> None:
            while True:
                seen.add((await monitor.next_command())["command"])

        collecting = asyncio.create_task(collect())
        try:
            yield
        finally:
            collecting.cancel()
            await asyncio.gather(collecting, return_exceptions=True)
