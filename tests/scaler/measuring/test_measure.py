"""Measuring lists, several triggers at once, and what cannot be measured."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
import redis.asyncio

from listeners.connections.strings import parse_connection_string
from listeners.errors import SourceError, SourceTimeoutError, WrongTypeError
from listeners.functions.triggers import ListTrigger, StreamTrigger, Trigger
from listeners.redis.client import Client
from scaler.measuring.backlog import Backlog
from scaler.measuring.counting import CountMemory
from scaler.measuring.lag import Lag
from scaler.measuring.measure import measure
from scaler.measuring.sampler import Samplers
from scaler.triggers.measured_trigger import MeasuredTrigger
from tests.servers.catalogue import RELEASES
from tests.support.running_host import RunHost
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage
from triggerfish.testing.server import Server

ONE = ("redis-7.2",)


async def measured(server: Server, *triggers: ListTrigger | StreamTrigger) -> list[Backlog | SourceError]:
    """Measure triggers of one server in one go."""
    client = Client(parse_connection_string(server.address), "test")
    try:
        wanted = [MeasuredTrigger(trigger) for trigger in triggers]
        results = await measure(client, await client.server(), wanted, CountMemory())
        return [results[trigger] for trigger in wanted]
    finally:
        await client.aclose()


async def test_a_list_is_its_length_over_all_keys(server: Server, client: redis.asyncio.Redis) -> None:
    """A list trigger's backlog is the length of all its keys."""
    await client.rpush("a", *range(7))
    await client.rpush("b", *range(5))
    [found] = await measured(server, ListTrigger(keys=("a", "b", "missing")))
    assert isinstance(found, Backlog)
    assert [key.entries for key in found.keys] == [7, 5, 0]
    assert found.entries == 12


async def test_elements_in_flight_are_backlog(server: Server, client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """An element that a function works on still counts, so that its instance is not taken away."""
    app, release = App(), asyncio.Event()

    @app.list_trigger(keys="q", batch_size=2)
    async def slow(message: RedisMessage) -> None:
        await release.wait()

    await client.rpush("q", 1, 2, 3)
    async with run_host(app):
        await eventually(lambda: client.zcard("triggerfish:{q}:inflight"))
        [found] = await measured(server, ListTrigger(keys=("q",)))
        assert isinstance(found, Backlog)
        assert (found.keys[0].length, found.keys[0].in_flight, found.entries) == (1, 2, 3)
        release.set()
        await eventually(lambda: _empty(server))


async def _empty(server: Server) -> bool:
    [found] = await measured(server, ListTrigger(keys=("q",)))
    return isinstance(found, Backlog) and found.entries == 0


async def test_plain_pops_before_lmpop_count_only_the_first_key(
    server: Server, client: redis.asyncio.Redis, version: tuple[int, ...]
) -> None:
    """At most once before Redis 7.0 only the first key is read, so only it is backlog."""
    await client.rpush("a", 1)
    await client.rpush("b", 1, 2)
    [found] = await measured(server, ListTrigger(keys=("a", "b"), delivery="at-most-once"))
    assert isinstance(found, Backlog)
    assert found.entries == (3 if version >= (7,) else 1)


async def test_a_key_of_another_type_is_an_error_and_hurts_no_other_trigger(
    server: Server, client: redis.asyncio.Redis
) -> None:
    """F17: a wrong type is an error, never 0, and the other triggers of that Redis are measured."""
    await client.set("text", "x")
    await client.rpush("q", 1)
    triggers = ListTrigger(keys=("text",)), StreamTrigger(keys=("text",)), ListTrigger(keys=("q",))
    wrong_list, wrong_stream, good = await measured(server, *triggers)
    assert isinstance(wrong_list, WrongTypeError)
    assert isinstance(wrong_stream, WrongTypeError)
    assert isinstance(good, Backlog)
    assert good.entries == 1


@pytest.mark.releases("redis-6.0", "redis-7.0", "valkey-9.1")
async def test_a_key_that_the_acl_denies_is_an_error_and_hurts_no_other_trigger(
    server: Server, client: redis.asyncio.Redis
) -> None:
    """F17: what the ACL denies is an error for that trigger only."""
    await client.execute_command("ACL", "SETUSER", "scaler", "on", ">pw", "~q", "~triggerfish:{q}:*", "+@all", "-xinfo")
    await client.rpush("q", 1)
    limited = Client(parse_connection_string(f"{server.address},user=scaler,password=pw"), "test")
    triggers = [
        MeasuredTrigger(trigger)
        for trigger in (ListTrigger(keys=("q",)), ListTrigger(keys=("other",)), StreamTrigger(keys=("q",)))
    ]
    try:
        found = await measure(limited, await limited.server(), triggers, CountMemory())
    finally:
        await limited.aclose()
        await client.execute_command("ACL", "DELUSER", "scaler")
    good, other, stream = (found[trigger] for trigger in triggers)
    assert isinstance(good, Backlog)
    assert isinstance(other, SourceError)
    assert isinstance(stream, SourceError)
    assert {other.reason, stream.reason} == {"access_denied"}


@pytest.fixture
async def samplers() -> AsyncIterator[tuple[Samplers, list[str | None]]]:
    """Samplers with a short bound, and the outcome of each round of measuring."""
    rounds: list[str | None] = []
    made = Samplers(bound_seconds=0.5, on_measured=lambda seconds, error: rounds.append(error))
    yield made, rounds
    await made.close()


Rounds = tuple[Samplers, list[str | None]]


@pytest.mark.releases(*ONE)
async def test_questions_that_come_together_share_one_round(
    server: Server, samplers: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K8: a thousand triggers asked about at once are measured in a handful of rounds."""
    shared, rounds = samplers
    monkeypatch.setattr(shared, "_bound_seconds", 10.0)  # this is not about speed
    spec = parse_connection_string(server.address)
    triggers = [MeasuredTrigger(ListTrigger(keys=(f"q{number}",))) for number in range(1000)]
    samples = await asyncio.gather(*(shared.sample(spec, measured) for measured in triggers))
    assert all(sample.backlog.entries == 0 for sample in samples)
    assert len(rounds) <= 2


@pytest.mark.releases(*ONE)
async def test_a_young_sample_is_shared(server: Server, client: redis.asyncio.Redis, samplers: Rounds) -> None:
    """GetMetrics and IsActive of one poll see the same sample; a later poll sees a new one."""
    shared, rounds = samplers
    spec, measured = parse_connection_string(server.address), MeasuredTrigger(ListTrigger(keys=("q",)))
    first = await shared.sample(spec, measured)
    await client.rpush("q", 1)
    again = await shared.sample(spec, measured)
    assert again.taken_at == first.taken_at
    assert len(rounds) == 1

    async def newer() -> bool:
        return (await shared.sample(spec, measured)).backlog.entries == 1

    await eventually(newer)


@pytest.mark.releases(*ONE)
async def test_samples_are_not_kept(server: Server, samplers: Rounds, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many keys were asked about, only samples that may still be told are kept."""
    shared, _ = samplers
    monkeypatch.setattr(shared, "_bound_seconds", 10.0)  # this is not about speed
    monkeypatch.setattr("scaler.measuring.sampler.FRESH_SECONDS", 0)
    spec = parse_connection_string(server.address)
    for first in range(0, 400, 100):
        triggers = [MeasuredTrigger(ListTrigger(keys=(f"q{number}",))) for number in range(first, first + 100)]
        await asyncio.gather(*(shared.sample(spec, measured) for measured in triggers))
        assert len(shared._samplers[spec]._samples) <= 100


def test_long_counts_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many streams were counted, only counts that may still be used are remembered."""
    memory = CountMemory()
    monkeypatch.setattr("scaler.measuring.counting.COUNT_EVERY_SECONDS", 0.0)
    for number in range(100):
        count: Any = SimpleNamespace(identity=(f"stream-{number}", "group", 10_000), state=SimpleNamespace(pending=0))
        memory.keep(count, Lag(1, "counted"))
    assert len(memory._counted) == 1


async def test_a_server_that_is_gone_is_an_error_within_the_bound(samplers: Rounds) -> None:
    """F17: an unreachable Redis is an error, never 0."""
    shared, _ = samplers
    with pytest.raises(SourceError) as caught:
        await shared.sample(parse_connection_string("127.0.0.1:1"), MeasuredTrigger(ListTrigger(keys=("q",))))
    assert caught.value.reason == "unavailable"


async def test_a_server_that_hangs_costs_only_its_own_triggers(samplers: Rounds) -> None:
    """F17: a hung Redis is a time-out within the bound, while another Redis answers; it works again when it wakes."""
    import os
    import signal
    import time

    shared, _ = samplers
    measured = MeasuredTrigger(ListTrigger(keys=("q",)))
    with RELEASES["valkey-9.1"].start() as hung, RELEASES["valkey-9.1"].start() as well:
        hung_spec, well_spec = (parse_connection_string(server.address) for server in (hung, well))
        await shared.sample(hung_spec, measured)
        os.kill(hung.process.pid, signal.SIGSTOP)
        try:
            other: Trigger = ListTrigger(keys=("other",))
            assert isinstance(other, ListTrigger)
            began = time.monotonic()
            stuck = asyncio.create_task(shared.sample(hung_spec, MeasuredTrigger(other)))
            assert (await shared.sample(well_spec, measured)).backlog.entries == 0
            assert not stuck.done()
            with pytest.raises(SourceTimeoutError):
                await stuck
            assert time.monotonic() - began < 2.0
        finally:
            os.kill(hung.process.pid, signal.SIGCONT)

        async def awake() -> bool:
            try:
                await shared.sample(hung_spec, measured)
            except SourceError:
                return False
            return True

        await eventually(awake)
