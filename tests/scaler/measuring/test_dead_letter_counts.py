"""How many dead letters there are, and since when, as the scaler's metrics report it."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import redis.asyncio

from listeners.functions.entries import Entry
from listeners.functions.triggers import ListTrigger, StreamTrigger
from listeners.keys import dead_letters_key
from listeners.redis.client import Client, CommandGroup
from scaler.measuring.dead_letters import DeadLetterCount, DeadLetterCounter
from scaler.triggers.measured_trigger import MeasuredTrigger
from tests.support.letters import add_letter
from tests.support.running_scaler import running_scaler
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

LETTERS = "triggerfish_trigger_dead_letters"
OLDEST = "triggerfish_trigger_dead_letters_oldest_timestamp_seconds"
METADATA = {"type": "redisListTrigger", "keys": "q", "function": "f"}


async def test_dead_letters_are_counted_over_all_keys(client: redis.asyncio.Redis, ours: Client) -> None:
    """The numbers are added, the oldest of all keys counts, and the bytes do not depend on the size of the entries."""
    first = await add_letter(client, Entry("b", payload=b"p" * 10_000_000))
    await add_letter(client, Entry("b", payload=b"p" * 10_000_000))
    await add_letter(client, Entry("a", flat_fields=[b"f", b"v"] * 10_000))
    several = MeasuredTrigger(ListTrigger(keys=("a", "b", "none")))
    empty = MeasuredTrigger(StreamTrigger(keys=("none",)))
    counter = DeadLetterCounter(ours)
    assert counter.due([several, empty], lambda _: None) == [several, empty]
    before = await client.info("stats")
    await counter.refresh([several, empty])
    after = await client.info("stats")
    assert counter.count(several) == DeadLetterCount(3, int(first.partition("-")[0]))
    assert counter.count(empty) == DeadLetterCount(0, None)
    assert counter.due([several, empty], lambda _: None) == []
    assert after["total_net_output_bytes"] - before["total_net_output_bytes"] < 20_000


async def test_what_cannot_be_counted_is_unknown(client: redis.asyncio.Redis, ours: Client) -> None:
    """A key of another type makes its trigger's number unknown, and no other's."""
    await client.set(dead_letters_key("text"), "x")
    await add_letter(client, Entry("q", payload=b"p"))
    unknown = MeasuredTrigger(ListTrigger(keys=("q", "text")))
    good = MeasuredTrigger(ListTrigger(keys=("q",)))
    counter = DeadLetterCounter(ours)
    await counter.refresh([unknown, good])
    assert counter.count(unknown) is None
    assert getattr(counter.count(good), "letters", None) == 1


@pytest.mark.parametrize(("seconds_per_key", "largest"), [(0.0001, 128), (0.005, 4), (1.0, 4)])
@pytest.mark.releases("valkey-9.1")
async def test_round_trips_are_sized_by_time(
    server: Server, ours: Client, monkeypatch: pytest.MonkeyPatch, seconds_per_key: float, largest: int
) -> None:
    """Redis copies the oldest dead letter of each key: where these are big, few keys are counted together."""
    now, send = 1_000.0, ours.transactions
    sizes: list[int] = []

    async def counted(groups: Sequence[CommandGroup], *, doing: str) -> list[list[Any]]:
        nonlocal now
        now += seconds_per_key * len(groups)
        sizes.append(len(groups))
        return await send(groups, doing=doing)

    monkeypatch.setattr(ours, "transactions", counted)
    monkeypatch.setattr("scaler.measuring.dead_letters.time", SimpleNamespace(monotonic=lambda: now))
    triggers = [MeasuredTrigger(ListTrigger(keys=(f"q{number}",))) for number in range(300)]
    counter = DeadLetterCounter(ours)
    await counter.refresh(triggers)
    assert sizes[0] == 4
    assert max(sizes) == largest
    assert sum(sizes) == 300
    assert max(sizes[2:]) * seconds_per_key <= max(0.02, seconds_per_key)
    assert counter.count(triggers[-1]) == DeadLetterCount(0, None)


@pytest.mark.releases("redis-5.0", "valkey-9.1")
async def test_the_metrics_follow_the_dead_letters(
    server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scaler reports the number and when the oldest was added; without any it reports 0, and no time."""
    monkeypatch.setattr("scaler.measuring.dead_letters.COUNT_EVERY_SECONDS", 0.0)
    letter_id = await add_letter(client, Entry("q", payload=b"p"))
    async with running_scaler(server) as scaler:

        async def reported(name: str) -> list[float]:
            await scaler.keda.target(METADATA)
            return list((await scaler.samples()).get(name, {}).values())

        async def is_reported(letters: float) -> bool:
            return await reported(LETTERS) == [letters]

        await eventually(lambda: is_reported(1))
        assert await reported(OLDEST) == [int(letter_id.partition("-")[0]) / 1000]
        await client.delete(dead_letters_key("q"))
        await eventually(lambda: is_reported(0))
        assert await reported(OLDEST) == []


@pytest.mark.releases("redis-6.2", "valkey-9.1")
async def test_a_user_who_may_not_read_them_still_scales(
    server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the ACL denies the dead letters, the backlog is measured, and their number is absent instead of 0."""
    monkeypatch.setattr("scaler.measuring.dead_letters.COUNT_EVERY_SECONDS", 0.0)
    await client.execute_command("ACL", "SETUSER", "scaler", "on", ">pw", "~*", "&*", "+@all", "-eval")
    await client.rpush("q", 1)
    await add_letter(client, Entry("q", payload=b"p"))
    denied = f"{server.address},user=scaler,password=pw"
    try:
        async with running_scaler(connection=denied) as scaler:
            for _ in range(3):
                assert await scaler.keda.target(METADATA) == 1
            async with asyncio.timeout(20):
                while not await client.execute_command("ACL", "LOG"):
                    await scaler.keda.target(METADATA)
            await scaler.keda.target(METADATA)
            samples = await scaler.samples()
            assert list(samples["triggerfish_trigger_backlog"].values()) == [1]
            assert LETTERS not in samples
            assert OLDEST not in samples
    finally:
        await client.execute_command("ACL", "DELUSER", "scaler")
