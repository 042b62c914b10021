"""Jobs on tasks that are used again: at once, in order, and none feels another one."""

import asyncio
import contextvars
import gc
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from listeners.engine.task_pool import WOKEN_BY_EACH, PooledTask, TaskPool
from tests.support.waiting import eventually

word = contextvars.ContextVar("word", default="nothing")

Body = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture
async def workers() -> AsyncIterator[TaskPool]:
    """Workers, without a job at the end."""
    workers = TaskPool()
    yield workers
    workers.close()
    await eventually(lambda: not [task for task in asyncio.all_tasks() if task.get_name() == "worker"])


async def run(workers: TaskPool, *bodies: Body) -> list[PooledTask]:
    """Start jobs, and wait until they have ended."""
    ended = 0

    async def counted(body: Body) -> None:
        nonlocal ended
        try:
            await body()
        finally:
            ended += 1

    jobs = [PooledTask(counted(body)) for body in bodies]
    for job in jobs:
        workers.start(job)
    await eventually(lambda: ended == len(bodies))
    return jobs


async def test_jobs_that_do_not_wait_share_a_task(workers: TaskPool) -> None:
    """They run in their order, on one task; so do those that come later."""
    order: list[int] = []

    def body(number: int) -> Body:
        async def append() -> None:
            order.append(number)

        return append

    jobs = await run(workers, *map(body, range(50)))
    jobs += await run(workers, *map(body, range(50, 100)))
    assert order == list(range(100))
    assert len({job.task for job in jobs}) == 1


async def test_jobs_that_wait_run_at_the_same_time(workers: TaskPool) -> None:
    """Each of them begins although none of those before it has ended; and their tasks are used again."""
    begun, gate = 0, asyncio.Event()

    async def wait() -> None:
        nonlocal begun
        begun += 1
        if begun == 100:
            gate.set()
        await gate.wait()

    first = await run(workers, *[wait] * 100)
    assert begun == 100
    begun = 0
    gate.clear()
    second = await run(workers, *[wait] * 100)
    assert len({job.task for job in first + second}) <= 100 + WOKEN_BY_EACH


async def test_each_has_its_own_context(workers: TaskPool) -> None:
    """What one job sets no other one sees, also not after it has waited; its own tasks do."""
    seen: list[str] = []

    def body(name: str, *, waits: bool) -> Body:
        async def work() -> None:
            seen.append(word.get())
            word.set(name)
            if waits:
                await asyncio.sleep(0)
            seen.append(await asyncio.create_task(read()))

        return work

    async def read() -> str:
        return word.get()

    await run(workers, body("a", waits=False), body("b", waits=True), body("c", waits=False))
    assert sorted(seen) == ["a", "b", "c", "nothing", "nothing", "nothing"]
    assert word.get() == "nothing"


async def test_a_cancellation_stays_with_its_job(workers: TaskPool) -> None:
    """One that is cancelled ends, or goes on if it wants to; the others do not notice."""
    ended: list[str] = []

    async def stubborn() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        ended.append("stubborn")

    async def obedient() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(60)

    async def bystander() -> None:
        await asyncio.sleep(0)
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
        ended.append("bystander")

    jobs = await run(workers, stubborn, obedient, bystander, stubborn, bystander)
    assert sorted(ended) == ["bystander", "bystander", "stubborn", "stubborn"]
    later = await run(workers, bystander)
    assert later[0].task not in {job.task for job in (jobs[0], jobs[1], jobs[3])}


@pytest.mark.parametrize("woken", [False, True], ids=["while it has no job", "just when it gets one"])
async def test_a_task_that_is_cancelled_late(workers: TaskPool, woken: bool) -> None:
    """Whoever kept a job's task and cancels it after the job's end does no harm to jobs that come later."""

    async def nothing() -> None:
        pass

    (job,) = await run(workers, nothing)
    assert job.task is not None
    if not woken:
        job.task.cancel()
        await run(workers, nothing, nothing)
        return
    begun = asyncio.Event()

    async def begin() -> None:
        begun.set()

    workers.start(PooledTask(begin()))
    job.task.cancel()
    async with asyncio.timeout(5):
        await begun.wait()


async def test_a_time_limit_of_a_job(workers: TaskPool) -> None:
    """asyncio.timeout() in a job ends what it is around, and nothing else."""
    ended: list[bool] = []

    async def limited() -> None:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(60)
        except TimeoutError:
            ended.append(True)

    jobs = await run(workers, limited)
    jobs += await run(workers, limited)
    assert ended == [True, True]
    assert jobs[0].task is jobs[1].task


async def test_jobs_that_have_not_begun_are_withdrawn(workers: TaskPool) -> None:
    """They never run."""

    async def never() -> None:
        raise AssertionError("it was withdrawn")

    jobs = [PooledTask(never()) for _ in range(3)]
    for job in jobs:
        workers.start(job)
    assert workers.withdraw() == jobs
    await asyncio.sleep(0)
    assert [job.task for job in jobs] == [None, None, None]


async def test_a_mistake_of_ours_stops_no_other_job(workers: TaskPool, caplog: pytest.LogCaptureFixture) -> None:
    """A job that raises is logged, and those behind it run."""

    async def fail() -> None:
        raise RuntimeError("a mistake")

    async def work() -> None:
        pass

    await run(workers, fail, work, work)
    assert "RuntimeError: a mistake" in caplog.text


async def test_many_that_wait_begin_within_few_rounds_of_the_loop(workers: TaskPool) -> None:
    """Their number doubles with each round: 500 do not take hundreds of rounds, in which others do their work."""
    begun, rounds, gate = 0, 0, asyncio.Event()

    async def wait() -> None:
        nonlocal begun
        begun += 1
        await gate.wait()

    for _ in range(500):
        workers.start(PooledTask(wait()))
    while begun < 500:
        await asyncio.sleep(0)
        rounds += 1
    assert rounds < 20
    gate.set()


async def test_a_worker_without_a_job_keeps_nothing_of_the_last_one(workers: TaskPool) -> None:
    """What jobs had, in their code or in their context, is free when they have ended."""

    class Payload:
        pass

    held = contextvars.ContextVar[Payload]("held")
    references: list[weakref.ref[Payload]] = []

    async def keep() -> None:
        payload = Payload()
        references.append(weakref.ref(payload))
        held.set(payload)
        await asyncio.sleep(0.001)

    await run(workers, *[keep] * 20)
    gc.collect()
    assert [reference() for reference in references] == [None] * 20


async def test_a_cancellation_that_is_taken_back(workers: TaskPool) -> None:
    """A job that cancels its task and takes that back has ended its task all the same, and only that."""
    ended: list[bool] = []

    async def undecided() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        task.uncancel()

    async def work() -> None:
        await asyncio.sleep(0)
        ended.append(True)

    await run(workers, undecided, work)
    await run(workers, work)
    assert ended == [True, True]


async def test_workers_that_are_closed_end_with_their_jobs(workers: TaskPool) -> None:
    """A job that goes on regardless is left alone, and its task ends with it."""
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    job = PooledTask(wait())
    workers.start(job)
    await eventually(lambda: job.task is not None)
    workers.close()
    gate.set()
    await eventually(lambda: job.task is not None and job.task.done())
