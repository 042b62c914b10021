"""Queues and open streams: changes are reported, and the next scheduled job wakes an app at its time."""

import time
from collections.abc import Callable
from functools import partial

import pytest
import redis.asyncio

from scaler.triggers.metadata import read_metadata
from tests.scaler.push.test_tracking import at_rest
from tests.scaler.queues.contents import QUEUES, bull_score, delayed
from tests.support.running_scaler import RunningScaler, running_scaler
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("redis-6.2", "valkey-9.1")

#: Commands of a trigger at rest.
MEASURING = ("multi", "exec", "llen", "zcard", "zcount", "hlen", "hexists", "hget", "lindex", "zrangebyscore", "exists")
DELAYS: dict[str, tuple[dict[str, str], str, Callable[[float], float]]] = {
    "BullMQ": ({"type": "BullMQQueue", "queue": "mail"}, "bull:mail:delayed", bull_score),
    "RQ": ({"type": "RQQueue", "queue": "mail"}, "rq:scheduled:mail", float),
    "arq": ({"type": "ArqQueue"}, "arq:queue", lambda at: int(at * 1000)),
    "SAQ": ({"type": "SaqQueue"}, "saq:default:incomplete", float),
    "asynq": ({"type": "AsynqQueue"}, "asynq:{default}:retry", float),
    "dramatiq": ({"type": "DramatiqQueue"}, "dramatiq:default.DQ.msgs", float),
    "Laravel": ({"type": "LaravelQueue", "prefix": ""}, "queues:default:delayed", float),
    "Bee-Queue": ({"type": "BeeQueue", "queue": "mail"}, "bq:mail:delayed", lambda at: int(at * 1000)),
    "sorted set": ({"type": "SortedSet", "queue": "timers", "unit": "s"}, "timers", float),
}


@pytest.fixture(autouse=True)
def _once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not repeat the first `true`."""
    monkeypatch.setattr("scaler.push.subscribers.REPEAT_AFTER_SECONDS", ())


@pytest.mark.parametrize("name", DELAYS)
async def test_a_scheduled_job_wakes_an_app_at_its_time(server: Server, client: redis.asyncio.Redis, name: str) -> None:
    """Nothing is sent before, and no command is run meanwhile: Redis reports no change when a job becomes due."""
    metadata, key, score = DELAYS[name]
    async with running_scaler(server) as scaler, scaler.keda.activity(metadata) as stream:
        await eventually(partial(at_rest, scaler))
        due_at = time.time() + 2
        if name == "dramatiq":
            await client.hset(key, mapping={"later": delayed(due_at + 60), "job": delayed(due_at)})
        else:
            await client.zadd(key, {"later": score(due_at + 60), "job": score(due_at)})
        assert await scaler.keda.active(metadata) is False
        await eventually(partial(at_rest, scaler))
        await eventually(lambda: stream.received == [True], seconds=10)
        assert time.time() >= due_at
        assert await scaler.keda.active(metadata) is True


@pytest.mark.parametrize("name", [name for name in QUEUES if "without" not in name and name != "Sidekiq"])
async def test_a_change_of_any_key_is_noticed_without_polling(
    server: Server, client: redis.asyncio.Redis, name: str
) -> None:
    """An idle queue costs no command, and a change of each of its keys leads to a measurement."""
    metadata = QUEUES[name].metadata
    measured = read_metadata(metadata).measured
    assert measured is not None
    async with running_scaler(server) as scaler, scaler.keda.activity(metadata):
        await eventually(partial(at_rest, scaler))
        await client.config_resetstat()
        for _ in range(20):
            assert await scaler.keda.active(metadata) is False
        stats = await client.info("commandstats")
        assert not [one for one in MEASURING if f"cmdstat_{one}" in stats]
        for key in measured.trigger.keys:
            rounds = await scaler.rounds()
            await client.set(key, "of another type")
            await eventually(partial(measured_since, scaler, rounds))
            await client.delete(key)
            await eventually(partial(at_rest, scaler))


async def measured_since(scaler: RunningScaler, rounds: int) -> bool:
    """Return whether a scaler has measured again."""
    return await scaler.rounds() > rounds
