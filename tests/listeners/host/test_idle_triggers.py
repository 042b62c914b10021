"""Idle triggers: nothing is sent to Redis, over few connections, and whatever changes is noticed."""

import asyncio
from collections.abc import Callable

import pytest
import redis.asyncio

from listeners.keys import inflight_key
from tests.support.running_host import RunHost
from tests.support.waiting import eventually
from triggerfish import App, Host, Retry
from triggerfish.testing.server import Server

#: Nobody would wait for a poll at this interval.
NEVER_MS = 600_000
TRACKING = ("redis-6.0", "redis-6.2", "redis-7.2", "redis-8.2", "valkey-8.1", "valkey-9.1")
pytestmark = pytest.mark.releases(*TRACKING)


def app_with(number: int, handle: Callable[[str], None], *, polling_interval_ms: int = NEVER_MS) -> App:
    """Return an app with so many list triggers and stream triggers, whose keys are q0, s0 and so on."""
    app = App()
    for at in range(number):

        async def on_element(element: str) -> None:
            handle(element)

        async def on_entry(fields: dict[str, str]) -> None:
            handle(fields["name"])

        on_element.__name__, on_entry.__name__ = f"on_element{at}", f"on_entry{at}"
        app.list_trigger(keys=f"q{at}", polling_interval_ms=polling_interval_ms)(on_element)
        app.stream_trigger(keys=f"s{at}", polling_interval_ms=polling_interval_ms)(on_entry)
    return app


async def counts(client: redis.asyncio.Redis) -> dict[str, int]:
    """Return how often each command was executed, but for those of this function."""
    stats = {name.removeprefix("cmdstat_"): row["calls"] for name, row in (await client.info("commandstats")).items()}
    return {name: number for name, number in stats.items() if name not in ("info", "client|list", "client")}


def polled(host: Host) -> float:
    """Return how many functions are polled."""
    samples = [sample for metric in host.registry.collect() for sample in metric.samples]
    return sum(sample.value for sample in samples if sample.name == "triggerfish_source_polled")


async def settled(client: redis.asyncio.Redis, *, proofs: int) -> dict[str, int]:
    """Wait until nothing but so many proofs has been sent since some moment. Return what has been sent in all."""
    before = await counts(client)

    async def only_proofs() -> dict[str, int] | None:
        nonlocal before
        now = await counts(client)
        if {**now, "hello": 0} != {**before, "hello": 0}:
            before = now
        return now if now.get("hello", 0) - before.get("hello", 0) >= proofs else None

    sent: dict[str, int] = await eventually(only_proofs, seconds=60)
    return sent


@pytest.mark.releases("redis-6.0", "redis-7.2", "valkey-9.1")
async def test_nothing_is_sent_while_nothing_happens(
    server: Server, client: redis.asyncio.Redis, run_host: RunHost
) -> None:
    """A hundred idle triggers use at most four connections, and send one command a second, the proof, in all."""
    handled = set[str]()
    async with run_host(app_with(50, handled.add)) as host:
        await settled(client, proofs=3)
        assert polled(host) == 0
        for at in range(50):
            await client.rpush(f"q{at}", f"q{at}")
            await client.xadd(f"s{at}", {"name": f"s{at}"})
        await eventually(lambda: len(handled) == 100)
        await settled(client, proofs=3)
        names = [row["name"] for row in await client.client_list() if row["name"].startswith("triggerfish:host:")]
        assert len(names) <= 4, names


async def test_an_entry_that_another_instance_releases(
    server: Server, client: redis.asyncio.Redis, run_host: RunHost
) -> None:
    """An element that is released although its lease has not ended is noticed, although nothing is polled."""
    handled = list[str]()
    async with run_host(app_with(1, handled.append), instance="first"):
        await settled(client, proofs=2)
        await client.hset("triggerfish:{q0}:elements", "other-1", "1:released")
        await client.zadd(inflight_key("q0"), {"other-1:w0:0": 0.5})
        await eventually(lambda: handled == ["released"])


async def test_retries_of_idle_triggers(server: Server, client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """A retry comes when it is due, although nothing is polled and other elements arrive meanwhile."""
    app, calls = App(), list[str]()

    @app.list_trigger(keys="q", polling_interval_ms=NEVER_MS)
    async def on_element(element: str) -> None:
        calls.append(element)
        if calls.count(element) < 3 and element == "retried":
            raise Retry(after_seconds=0.2)

    @app.stream_trigger(keys="s", polling_interval_ms=NEVER_MS)
    async def on_entry(fields: dict[str, str]) -> None:
        calls.append(fields["name"])
        if calls.count(fields["name"]) < 3 and fields["name"] == "again":
            raise Retry(after_seconds=0.2)

    async with run_host(app):
        await settled(client, proofs=2)
        await client.rpush("q", "retried")
        await client.xadd("s", {"name": "again"})
        await eventually(lambda: len(calls) >= 2)
        await client.rpush("q", "other")
        await client.xadd("s", {"name": "another"})
        await eventually(lambda: sorted(calls) == sorted(["retried", "again"] * 3 + ["other", "another"]))


@pytest.mark.releases("redis-7.2", "valkey-9.1")
@pytest.mark.parametrize("kill", ["tracking", "all"])
async def test_lost_connections(server: Server, client: redis.asyncio.Redis, run_host: RunHost, kill: str) -> None:
    """What changes while a connection is lost, or right after, is noticed."""
    handled = set[str]()
    async with run_host(app_with(3, handled.add)):
        for round_ in range(5):
            await settled(client, proofs=1)
            for row in await client.client_list():
                if row["name"].startswith("triggerfish:host:") and (kill == "all" or row["name"].endswith(kill)):
                    await client.execute_command("CLIENT", "KILL", "ID", row["id"])
            for at in range(3):
                await client.rpush(f"q{at}", f"q{at} {round_}")
                await client.xadd(f"s{at}", {"name": f"s{at} {round_}"})
            await eventually(lambda: len(handled) == 6 * (round_ + 1))  # noqa: B023


async def test_a_flushed_server(server: Server, client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """After FLUSHALL and DEL, groups are created again, and what is added then is handled."""
    handled = set[str]()
    async with run_host(app_with(2, handled.add)):
        await settled(client, proofs=2)
        await client.flushall()
        await client.rpush("q0", "element")
        await client.xadd("s0", {"name": "entry"})
        await eventually(lambda: handled == {"element", "entry"})
        await settled(client, proofs=2)
        await client.delete("s1")
        await client.xadd("s1", {"name": "later"})
        await eventually(lambda: "later" in handled)


@pytest.mark.releases("redis-7.2", "valkey-9.1")
async def test_a_change_that_is_not_reported(
    server: Server,
    client: redis.asyncio.Redis,
    run_host: RunHost,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """SWAPDB is reported by nobody: a look in time finds the elements, and the server is polled from then on."""
    monkeypatch.setattr("listeners.tracking.lookout.VERIFY_SECONDS", 3.0)
    handled = set[str]()
    async with redis.asyncio.Redis(port=server.port, db=5, protocol=2) as other:
        await other.rpush("q0", "swapped")
    async with run_host(app_with(1, handled.add, polling_interval_ms=20)) as host:
        await settled(client, proofs=1)
        await client.execute_command("SWAPDB", 0, 5)
        await eventually(lambda: "swapped" in handled)
        await eventually(lambda: polled(host) == 2)
        untold = host.registry.get_sample_value("triggerfish_untold_changes_total")
        assert untold == 1
        await client.rpush("q0", "polled")
        await eventually(lambda: "polled" in handled)
    await client.flushall()
    assert any("did not report" in text for text in caplog.messages)


async def test_instances_that_lose_a_race(server: Server, client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """Of many idle instances, those that find nothing do not ask again and again: fewer than three commands each."""
    handled = list[str]()
    app = app_with(1, handled.append)
    async with asyncio.TaskGroup() as group:
        done = asyncio.Event()

        async def instance(number: int) -> None:
            async with run_host(app, instance=f"i{number}"):
                await done.wait()

        for number in range(10):
            group.create_task(instance(number))
        await settled(client, proofs=20)
        before = await counts(client)
        for number in range(100):
            await client.rpush("q0", str(number))
            await eventually(lambda: len(handled) == number + 1)  # noqa: B023
        after = await counts(client)
        done.set()
    takes = after["evalsha"] - before["evalsha"]
    assert takes < 100 * 10, takes
