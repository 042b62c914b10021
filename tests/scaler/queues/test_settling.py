"""0 is believed after a time where a library takes a job and records it in two steps."""

import asyncio
import time

import grpc
import pytest

from tests.support.running_scaler import RunningScaler, failure, running_scaler
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

RQ = {"type": "RQQueue", "queue": "mail bulk", "messagesPerWorker": "1"}
LATE = {"type": "CeleryQueue", "unackedKey": "own", "acksLate": "true", "messagesPerWorker": "1"}
BULL = {"type": "BullMQQueue", "queue": "mail", "messagesPerWorker": "1"}
#: How long a queue must be empty, less what clocks may differ by.
SETTLED_SECONDS = 0.99


@pytest.mark.parametrize(("metadata", "key"), [(RQ, "rq:queue:mail"), (LATE, "celery")])
async def test_a_job_in_no_key_counts_for_a_second(
    server: Server, scaler: RunningScaler, metadata: dict[str, str], key: str
) -> None:
    """When the last job has left its list, the target stays at 1 for a second, and is then 0."""
    with server.client() as client:
        client.rpush(key, "a", "b", "c")
        assert await scaler.keda.target(metadata) == 3
        client.delete(key)
    emptied_at = time.monotonic()
    targets: list[int] = []
    while not targets or targets[-1] > 0:
        targets.append(await scaler.keda.target(metadata))
    assert time.monotonic() - emptied_at >= SETTLED_SECONDS
    assert set(targets) - {3} == {1, 0}  # samples are shared for a moment


async def test_a_job_between_two_keys_is_never_missed(server: Server, scaler: RunningScaler) -> None:
    """A job that leaves a list and appears among the running ones half a second later counts all the time."""
    with server.client() as client:
        client.rpush("rq:queue:mail", "a")
        assert await scaler.keda.target(RQ) == 1
        client.lpop("rq:queue:mail")
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            assert await scaler.keda.target(RQ) == 1
        client.zadd("rq:wip:mail", {"a:1": time.time() + 90})
        assert await scaler.keda.target(RQ) == 1


async def test_the_first_sample_waits_for_a_second_one(server: Server, scaler: RunningScaler) -> None:
    """A scaler that has just started answers 0 after a second, and does not wake an idle app meanwhile."""
    began = time.monotonic()
    targets = await asyncio.gather(*(scaler.keda.target(RQ) for _ in range(5)), scaler.keda.target(BULL))
    assert targets == [0] * 6
    assert time.monotonic() - began >= SETTLED_SECONDS
    assert await scaler.keda.active(RQ) is False


async def test_a_job_that_arrives_meanwhile_is_found(server: Server, scaler: RunningScaler) -> None:
    """Nobody waits to the end for a queue that has got a job."""
    waiting = asyncio.create_task(scaler.keda.target(RQ))
    with server.client() as client:
        client.rpush("rq:queue:bulk", "a", "b")
    assert await waiting == 2


async def test_what_is_not_known_in_time_is_an_error(server: Server) -> None:
    """With less time to answer than a second, the first answer is an error, and a later one is 0."""
    async with running_scaler(server, scaler={"bound_seconds": 0.3}) as scaler:
        with failure(grpc.StatusCode.UNAVAILABLE, "RQ queue mail bulk", "it seems to be empty"):
            await scaler.keda.target(RQ)

        async def known() -> bool:
            try:
                return await scaler.keda.target(RQ) == 0
            except grpc.aio.AioRpcError:
                return False

        await eventually(known)


async def test_exact_libraries_answer_at_once(server: Server, scaler: RunningScaler) -> None:
    """Where a job is always in some key, the first sample of 0 is the truth: no answer of 1 follows it."""
    with server.client() as client:
        client.rpush("bull:mail:active", "a", "b")
        assert await scaler.keda.target(BULL) == 2
        client.delete("bull:mail:active")
    targets = [2]
    while targets[-1] == 2:
        targets.append(await scaler.keda.target(BULL))
    assert targets[-1] == 0


async def fails(scaler: RunningScaler) -> bool:
    """Return whether LATE cannot be measured."""
    try:
        await scaler.keda.target(LATE)
    except grpc.aio.AioRpcError:
        return True
    return False


async def test_an_outage_begins_the_time_again(own_server: Server) -> None:
    """0 before and after an outage is not 0 for all the time between."""
    async with running_scaler(own_server, scaler={"bound_seconds": 5}) as scaler:
        with own_server.client() as client:
            client.rpush("celery", "a", "b")
            assert await scaler.keda.target(LATE) == 2
            client.delete("celery")

            async def seems_empty() -> bool:
                return await scaler.keda.target(LATE) == 1

            await eventually(seems_empty)
            emptied_at = time.monotonic()
            client.set("own", "a key of another type")
            await eventually(lambda: fails(scaler))
            while time.monotonic() - emptied_at < 2 * SETTLED_SECONDS:
                assert await fails(scaler)
            client.delete("own")
        repaired_at = time.monotonic()
        while await fails(scaler):  # an error is shared for a moment, too
            pass
        while await scaler.keda.target(LATE) > 0:
            pass
        assert time.monotonic() - repaired_at >= SETTLED_SECONDS
