"""Measuring lists, several triggers in one round, and failures."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from listeners.connections.strings import parse_connection_string
from listeners.errors import AccessDeniedError, SourceError, SourceTimeoutError, WrongTypeError
from listeners.functions.triggers import ListTrigger, StreamTrigger, Trigger
from listeners.redis.client import Client
from scaler.measuring.backlog import Backlog
from scaler.measuring.samplers import Samplers
from scaler.triggers.measured_trigger import MeasuredTrigger
from tests.servers.catalogue import RELEASES
from tests.support.measuring import measure_now
from tests.support.running_host import RunHost
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage
from triggerfish.testing.server import Server

ONE = ("redis-7.2",)


async def measure_all(server: Server, *triggers: ListTrigger | StreamTrigger) -> list[Backlog | SourceError]:
    """Measure triggers of one server in one round trip."""
    client = Client(parse_connection_string(server.address), "test")
    try:
        measured = [MeasuredTrigger(trigger) for trigger in triggers]
        results = await measure_now(client, measured)
        return [results[trigger] for trigger in measured]
    finally:
        await client.aclose()


async def test_a_list_trigger_is_measured_over_all_keys(server: Server, client: redis.asyncio.Redis) -> None:
    """The backlog of a list trigger is the total length of its keys."""
    await client.rpush("a", *range(7))
    await client.rpush("b", *range(5))
    [found] = await measure_all(server, ListTrigger(keys=("a", "b", "missing")))
    assert isinstance(found, Backlog)
    assert [key.entries for key in found.keys] == [7, 5, 0]
    assert found.entries == 12


async def test_elements_in_flight_are_backlog(server: Server, client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """An element in progress still counts, so that its instance is not removed."""
    app, release = App(), asyncio.Event()

    @app.list_trigger(keys="q", batch_size=2)
    async def slow(message: RedisMessage) -> None:
        await release.wait()

    await client.rpush("q", 1, 2, 3)
    async with run_host(app):
        await eventually(lambda: client.zcard("triggerfish:{q}:inflight"))
        [found] = await measure_all(server, ListTrigger(keys=("q",)))
        assert isinstance(found, Backlog)
        assert (found.keys[0].length, found.keys[0].in_flight, found.entries) == (1, 2, 3)
        release.set()
        await eventually(lambda: _empty(server))


async def _empty(server: Server) -> bool:
    [found] = await measure_all(server, ListTrigger(keys=("q",)))
    return isinstance(found, Backlog) and found.entries == 0


async def test_plain_pops_before_lmpop_count_only_the_first_key(
    server: Server, client: redis.asyncio.Redis, version: tuple[int, ...]
) -> None:
    """With at-most-once delivery before Redis 7.0 only the first key is read, so only that key is backlog."""
    await client.rpush("a", 1)
    await client.rpush("b", 1, 2)
    [found] = await measure_all(server, ListTrigger(keys=("a", "b"), delivery="at-most-once"))
    assert isinstance(found, Backlog)
    assert found.entries == (3 if version >= (7,) else 1)


async def test_a_key_of_another_type_is_an_error_for_its_trigger_only(
    server: Server, client: redis.asyncio.Redis
) -> None:
    """A key of the wrong type is an error, never 0, and the other triggers of that Redis are measured."""
    await client.set("text", "x")
    await client.rpush("q", 1)
    triggers = ListTrigger(keys=("text",)), StreamTrigger(keys=("text",)), ListTrigger(keys=("q",))
    wrong_list, wrong_stream, good = await measure_all(server, *triggers)
    assert isinstance(wrong_list, WrongTypeError)
    assert isinstance(wrong_stream, WrongTypeError)
    assert isinstance(good, Backlog)
    assert good.entries == 1


@pytest.mark.releases("redis-6.0", "redis-7.0", "valkey-9.1")
async def test_a_key_that_the_acl_denies_is_an_error_for_its_trigger_only(
    server: Server, client: redis.asyncio.Redis
) -> None:
    """A key or command that the ACL denies is an error for that trigger only."""
    await client.execute_command(
        "ACL", "SETUSER", "scaler", "on", ">pw", "~q", "~s", "~triggerfish:{q}:*", "+@all", "-xinfo"
    )
    await client.rpush("q", 1)
    await client.xadd("s", {"f": "v"})
    limited = Client(parse_connection_string(f"{server.address},user=scaler,password=pw"), "test")
    triggers = [
        MeasuredTrigger(trigger)
        for trigger in (ListTrigger(keys=("q",)), ListTrigger(keys=("other",)), StreamTrigger(keys=("s",)))
    ]
    try:
        found = await measure_now(limited, triggers)
    finally:
        await limited.aclose()
        await client.execute_command("ACL", "DELUSER", "scaler")
    good, other, stream = (found[trigger] for trigger in triggers)
    assert isinstance(good, Backlog)
    assert isinstance(other, SourceError)
    assert isinstance(stream, SourceError)
    assert {other.reason, stream.reason} == {"access_denied"}


@pytest.mark.releases("redis-6.0", "redis-6.2", "redis-7.0", "redis-7.4", "valkey-9.1")
async def test_a_denied_command_is_named(server: Server, client: redis.asyncio.Redis, ours: Client) -> None:
    """The error of a stream names the command that its user lacks, inside a script too, and the fix."""
    await client.xadd("s", {"f": "v"}, id="1-1")
    await client.xadd("s", {"f": "v"}, id="1-2")
    await client.xgroup_create("s", "g", "1-1")
    await client.xdel("s", "1-2")
    await client.xadd("s", {"f": "v"}, id="1-3")
    info = await ours.server()
    needed = ["XLEN", "XINFO", "XRANGE", *([] if info.supports(7) else ["EVALSHA"])]  # or else EVALSHA_RO suffices
    needed += [] if info.supports(7, 4) else ["TIME"]
    limited = Client(parse_connection_string(f"{server.address},user=scaler,password=pw"), "test")
    trigger = MeasuredTrigger(StreamTrigger(keys=("s",), consumer_group="g"))
    try:
        for command in needed:
            denied = f"-{command.lower()}"
            await client.execute_command("ACL", "SETUSER", "scaler", "on", ">pw", "~*", "+@all", denied)
            found = (await measure_now(limited, [trigger]))[trigger]
            assert isinstance(found, AccessDeniedError), found
            assert command in str(found).upper()
            assert str(found).count("triggerfish check --acl") == 1
    finally:
        await limited.aclose()
        await client.execute_command("ACL", "DELUSER", "scaler")


@pytest.fixture
async def samplers() -> AsyncIterator[tuple[Samplers, list[str | None]]]:
    """Samplers with a short bound, and the outcome of each round of measuring."""
    rounds: list[str | None] = []
    samplers = Samplers(bound_seconds=0.5, on_measured=lambda seconds, error: rounds.append(error))
    yield samplers, rounds
    await samplers.close()


Rounds = tuple[Samplers, list[str | None]]


@pytest.mark.releases(*ONE)
async def test_concurrent_requests_share_one_round(
    server: Server, samplers: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand triggers that are requested concurrently are measured in at most two rounds."""
    shared, rounds = samplers
    monkeypatch.setattr(shared, "_bound_seconds", 10.0)  # speed is not tested here
    spec = parse_connection_string(server.address)
    triggers = [MeasuredTrigger(ListTrigger(keys=(f"q{number}",))) for number in range(1000)]
    samples = await asyncio.gather(*(shared.sample(spec, trigger) for trigger in triggers))
    assert all(sample.backlog.entries == 0 for sample in samples)
    assert len(rounds) <= 2


@pytest.mark.releases(*ONE)
async def test_a_round_has_a_bounded_number_of_keys(server: Server, samplers: Rounds) -> None:
    """Triggers with many keys are measured in several rounds."""
    shared, rounds = samplers
    spec = parse_connection_string(server.address)
    shared._bound_seconds = 10.0  # speed is not tested here
    triggers = [
        MeasuredTrigger(ListTrigger(keys=tuple(f"q-{number}-{at}" for at in range(100)))) for number in range(25)
    ]
    samples = await asyncio.gather(*(shared.sample(spec, trigger) for trigger in triggers))
    assert {len(sample.backlog.keys) for sample in samples} == {100}
    assert len(rounds) >= 5


@pytest.mark.releases(*ONE)
async def test_a_fresh_sample_is_shared(server: Server, client: redis.asyncio.Redis, samplers: Rounds) -> None:
    """GetMetrics and IsActive of one poll see the same sample; a later poll sees a new one."""
    shared, rounds = samplers
    spec, trigger = parse_connection_string(server.address), MeasuredTrigger(ListTrigger(keys=("q",)))
    first = await shared.sample(spec, trigger)
    await client.rpush("q", 1)
    second = await shared.sample(spec, trigger)
    assert second.taken_at == first.taken_at
    assert len(rounds) == 1

    async def newer() -> bool:
        return (await shared.sample(spec, trigger)).backlog.entries == 1

    await eventually(newer)


@pytest.mark.releases(*ONE)
async def test_expired_samples_are_dropped(server: Server, samplers: Rounds, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only fresh samples are kept, no matter how many keys were requested."""
    shared, _ = samplers
    monkeypatch.setattr(shared, "_bound_seconds", 10.0)  # speed is not tested here
    monkeypatch.setattr("scaler.measuring.sampler.FRESH_SECONDS", 0)
    spec = parse_connection_string(server.address)
    for first in range(0, 400, 100):
        triggers = [MeasuredTrigger(ListTrigger(keys=(f"q{number}",))) for number in range(first, first + 100)]
        await asyncio.gather(*(shared.sample(spec, trigger) for trigger in triggers))
        assert len(shared._samplers[spec]._samples) <= 100


async def test_an_unreachable_server_is_an_error(samplers: Rounds) -> None:
    """An unreachable Redis is an error, never 0."""
    shared, _ = samplers
    with pytest.raises(SourceError) as caught:
        await shared.sample(parse_connection_string("127.0.0.1:1"), MeasuredTrigger(ListTrigger(keys=("q",))))
    assert caught.value.reason == "unavailable"


async def test_a_server_that_hangs_affects_only_its_own_triggers(samplers: Rounds) -> None:
    """A hung Redis is a timeout within the bound while another Redis responds, and works again after it resumes."""
    import os
    import signal

    shared, _ = samplers
    trigger = MeasuredTrigger(ListTrigger(keys=("q",)))
    with RELEASES["valkey-9.1"].start() as hung, RELEASES["valkey-9.1"].start() as healthy:
        hung_spec, healthy_spec = (parse_connection_string(server.address) for server in (hung, healthy))
        await shared.sample(hung_spec, trigger)
        os.kill(hung.process.pid, signal.SIGSTOP)
        try:
            other: Trigger = ListTrigger(keys=("other",))
            assert isinstance(other, ListTrigger)
            stuck = asyncio.create_task(shared.sample(hung_spec, MeasuredTrigger(other)))
            assert (await shared.sample(healthy_spec, trigger)).backlog.entries == 0
            assert not stuck.done()
            with pytest.raises(SourceTimeoutError):
                await stuck
        finally:
            os.kill(hung.process.pid, signal.SIGCONT)

        async def resumed() -> bool:
            try:
                await shared.sample(hung_spec, trigger)
            except SourceError:
                return False
            return True

        await eventually(resumed)
