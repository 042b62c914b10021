"""Triggers at rest are verified together, with few commands, and what Redis does not report is noticed."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import redis.asyncio

from listeners.functions.triggers import DEFAULT_CONSUMER_GROUP
from listeners.keys import dead_letters_key, inflight_key
from scaler.evaluation.evaluator import Evaluator
from scaler.triggers.owner import Owner
from tests.support.running_scaler import RunningScaler, running_scaler
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("redis-7.2", "valkey-9.1")

REST_SECONDS = 1.0
STREAM = {"type": "redisStreamTrigger", "keys": "payments"}
#: The triggers of each kind; together more than are verified in one round trip.
EACH = 40


@pytest.fixture
async def scaler(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunningScaler]:
    """A scaler that verifies each trigger at rest every second."""
    monkeypatch.setattr("scaler.push.loop.REST_SECONDS", REST_SECONDS)
    monkeypatch.setattr("scaler.push.subscribers.REPEAT_AFTER_SECONDS", ())
    async with running_scaler(server) as found:
        yield found


async def at_rest(scaler: RunningScaler, triggers: int) -> bool:
    """Return whether this many triggers have been measured and none is polled."""
    samples = await scaler.samples()
    known = samples.get("triggerfish_trigger_known", {}).values()
    return sum(known) == triggers and set(samples["triggerfish_push_polled_triggers"].values()) == {0}


async def test_verifying_takes_few_commands(scaler: RunningScaler, client: redis.asyncio.Redis) -> None:
    """One command verifies all missing lists, and one script all streams. Each other list takes two commands."""
    for number in range(EACH):
        await client.rpush(f"busy-{number}", "x", "x")
        await client.zadd(inflight_key(f"busy-{number}"), {"x": 1})
        await client.xadd(f"stream-{number}", {"a": "b"})
        # Redis 7 knows the lag of a group that was told how many entries it has read.
        await client.xgroup_create(f"stream-{number}", DEFAULT_CONSUMER_GROUP, id="$", entries_read=1)
    async with AsyncExitStack() as stack:
        for number in range(EACH):
            for key in ("idle", "busy", "stream"):
                kind = "redisStreamTrigger" if key == "stream" else "redisListTrigger"
                metadata = {"type": kind, "keys": f"{key}-{number}"}
                await stack.enter_async_context(scaler.keda.activity(metadata, name=f"{key}-{number}"))
        await eventually(partial(at_rest, scaler, 3 * EACH))
        await client.config_resetstat()
        before = await scaler.rounds()

        async def calls() -> dict[str, int]:
            stats = await client.info("commandstats")
            return {name.removeprefix("cmdstat_"): one["calls"] for name, one in stats.items()}

        async def all_are_verified() -> bool:
            now = await calls()
            return all(now.get(name, 0) >= EACH for name in ("llen", "zcard", "xlen", "xinfo|groups"))

        await eventually(all_are_verified)
        found = await calls()
        rounds = await scaler.rounds() - before + 1  # the last one may not be counted yet
        assert found["exists"] <= rounds
        assert found["evalsha_ro"] <= rounds
        assert not found.keys() & {"multi", "exec"}


async def test_an_age_is_renewed(scaler: RunningScaler, client: redis.asyncio.Redis) -> None:
    """The sample of an idle stream is never much older than the time within which it is verified."""
    await client.xgroup_create("payments", DEFAULT_CONSUMER_GROUP, mkstream=True)
    async with scaler.keda.activity(STREAM):
        await eventually(partial(at_rest, scaler, 1))
        before = await scaler.rounds()
        ages: list[float] = []

        async def is_verified_twice() -> bool:
            ages.extend((await scaler.samples())["triggerfish_trigger_sample_age_seconds"].values())
            return await scaler.rounds() >= before + 3

        await eventually(is_verified_twice)
        assert any(later < earlier for earlier, later in pairwise(ages))


async def test_what_is_done_to_a_group_is_noticed(scaler: RunningScaler, client: redis.asyncio.Redis) -> None:
    """Redis does not report that a group is set back to entries that it had read, which makes its trigger active."""
    await client.xadd("payments", {"a": "b"})
    await client.xgroup_create("payments", DEFAULT_CONSUMER_GROUP, id="$", mkstream=True)
    async with scaler.keda.activity(STREAM) as stream:
        await eventually(partial(at_rest, scaler, 1))
        await client.xgroup_setid("payments", DEFAULT_CONSUMER_GROUP, "0", entries_read=0)
        await eventually(lambda: stream.received == [True])
        assert await scaler.keda.target(STREAM) == 1


async def test_a_changed_count_of_dead_letters_is_shown(
    scaler: RunningScaler, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Metrics show what was counted after the last evaluation."""
    monkeypatch.setattr("scaler.measuring.dead_letters.COUNT_EVERY_SECONDS", 0.0)
    monkeypatch.setattr("scaler.measuring.dead_letters.COUNT_UNCHANGED_SECONDS", 0.0)
    async with scaler.keda.activity({"type": "redisListTrigger", "keys": "orders"}):
        await eventually(partial(at_rest, scaler, 1))
        await client.xadd(dead_letters_key("orders"), {"a": "b"})

        async def is_shown() -> bool:
            return set((await scaler.samples()).get("triggerfish_trigger_dead_letters", {}).values()) == {1}

        await eventually(is_shown)


async def test_more_triggers_than_are_remembered(
    scaler: RunningScaler, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Triggers at rest that the evaluator has forgotten are verified together like the others, and not one by one."""
    monkeypatch.setattr("scaler.evaluation.evaluator.MAX_TRACKED", 2)
    evaluated: list[str] = []
    evaluate = Evaluator.evaluate

    async def counted(self: Evaluator, owner: Owner, *arguments: Any, **options: Any) -> Any:
        evaluated.append(owner.name)
        return await evaluate(self, owner, *arguments, **options)

    monkeypatch.setattr(Evaluator, "evaluate", counted)
    async with AsyncExitStack() as stack:
        for number in range(EACH):
            await stack.enter_async_context(
                scaler.keda.activity({"type": "redisListTrigger", "keys": f"idle-{number}"}, name=f"idle-{number}")
            )
        await eventually(lambda: len(evaluated) >= EACH)
        await eventually(partial(none_is_polled, scaler))
        evaluated.clear()
        before = await scaler.rounds()

        async def are_verified() -> bool:
            return await scaler.rounds() >= before + 10

        await eventually(are_verified)
        assert evaluated == []


async def none_is_polled(scaler: RunningScaler) -> bool:
    """Return whether all triggers with open streams are at rest."""
    return set((await scaler.samples())["triggerfish_push_polled_triggers"].values()) == {0}
