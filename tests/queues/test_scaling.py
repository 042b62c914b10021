"""Real workers of other libraries that follow the scaler's answers: from zero, up, and back to zero."""

import dataclasses
from collections.abc import Awaitable

import pytest
import redis.asyncio

from benchmarks.queues.libraries import Library
from benchmarks.queues.processes import running
from benchmarks.queues.samples import read_truth
from tests.queues.keda_loop import keda_loop
from tests.support.running_scaler import RunningScaler
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = [
    pytest.mark.releases("valkey-9.1"),
    pytest.mark.libraries("BullMQ", "Celery, acks_late, own unacked_key"),
]

MAX_REPLICAS = 3
SLOTS = 2
#: As many polls as last longer than the cooldown.
MANY_POLLS = 20


async def test_from_zero_and_back_with_nothing_stopped_at_work(
    library: Library, server: Server, scaler: RunningScaler, client: redis.asyncio.Redis
) -> None:
    """Workers stay while all jobs run and the waiting list is empty, which KEDA's recipe takes for no work. Later they
    drain to zero, each job is started once and finishes, and each worker exits by itself.
    """
    small = dataclasses.replace(library, slots=SLOTS)
    url = f"redis://{server.address}/0"
    slots = MAX_REPLICAS * SLOTS
    await client.set("truth:hold", "1")
    async with (
        running(small, "send", url) as producer,
        keda_loop(scaler.keda, small, url, MAX_REPLICAS, cooldown_seconds=0.3) as loop,
    ):
        await eventually(lambda: loop.polls >= 2)
        assert loop.peak == 0

        producer.send(range(slots))
        await eventually(lambda: _is_size(client.llen("truth:started"), slots), seconds=60)
        polls = loop.polls
        await eventually(lambda: loop.polls >= polls + MANY_POLLS, seconds=60)
        truth = await read_truth(client, small)
        assert (truth.unfinished, truth.keda) == (slots, 0)
        assert (len(loop.workers), loop.stopping, loop.statuses) == (MAX_REPLICAS, 0, [])

        producer.send(range(slots, 3 * slots))
        await eventually(lambda: _is_size(client.scard("truth:sent"), 3 * slots))
        await client.delete("truth:hold")
        await eventually(lambda: not loop.workers and not loop.stopping, seconds=60)
    assert loop.peak == MAX_REPLICAS
    assert loop.statuses == [0] * MAX_REPLICAS
    assert sorted(map(int, await client.lrange("truth:started", 0, -1))) == list(range(3 * slots))
    assert {int(number) for number in await client.smembers("truth:finished")} == set(range(3 * slots))


async def _is_size(size: Awaitable[int], wanted: int) -> bool:
    return await size == wanted
