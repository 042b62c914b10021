"""Jobs run on reused tasks: concurrently, in order, and isolated from each other."""

import asyncio
import contextvars
import gc
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from listeners.engine.calling.task_pool import WOKEN_PER_WAITING_JOB, Rest, Run, TaskPool
from tests.support.waiting import eventually

word = contextvars.ContextVar("word", default="nothing")

Body = Callable[[], Coroutine[Any, Any, None]]


class Job:
    """A job that runs a coroutine. `task` runs it, once it has started."""

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.coroutine = coroutine
        self.task: asyncio.Task[None] | None = None


Pool = TaskPool[Job]


def begin(job: Job, task: asyncio.Task[None], run: Run) -> Rest | None:
    """Run a job until it ends or waits."""
    job.task = task
    try:
        awaited = job.coroutine.send(None)
    except StopIteration:
        return None
    return Rest(job.coroutine, run, awaited)


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    """A pool whose workers have ended after the test."""
    pool = TaskPool(begin, on_pause=lambda: None)
    yield pool
    pool.close()
    await eventually(lambda: not [task for task in asyncio.all_tasks() if task.get_name() == "worker"])


async def run(pool: Pool, *bodies: Body) -> list[Job]:
    """Start jobs and wait until they have ended."""
    ended = 0

    async def counted(body: Body) -> None:
        nonlocal ended
        try:
            await body()
        finally:
            ended += 1

    jobs = [Job(counted(body)) for body in bodies]
    pool.start(jobs)
    await eventually(lambda: ended == len(bodies))
    return jobs


async def test_jobs_that_do_not_wait_share_a_task(pool: Pool) -> None:
    """Jobs that never wait run in order on one task, and so do later ones."""
    order: list[int] = []

    def body(number: int) -> Body:
        async def append() -> None:
            order.append(number)

        return append

    jobs = await run(pool, *map(body, range(50)))
    jobs += await run(pool, *map(body, range(50, 100)))
    assert order == list(range(100))
    assert len({job.task for job in jobs}) == 1


async def test_jobs_that_do_not_wait_leave_turns_to_others(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a turn, whatever else is ready on the event loop runs before the next job."""
    monkeypatch.setattr("listeners.engine.calling.task_pool.TURN_SECONDS", 0.0)
    order: list[str] = []

    async def job() -> None:
        order.append("job")
        asyncio.get_running_loop().call_soon(order.append, "other")

    await run(pool, job, job, job)
    assert order == ["job", "other"] * 3


async def test_waiting_jobs_run_concurrently(pool: Pool) -> None:
    """Each job starts although none of the previous ones has ended, and their tasks are reused."""
    started, gate = 0, asyncio.Event()

    async def wait() -> None:
        nonlocal started
        started += 1
        if started == 100:
            gate.set()
        await gate.wait()

    first = await run(pool, *[wait] * 100)
    assert started == 100
    started = 0
    gate.clear()
    second = await run(pool, *[wait] * 100)
    assert len({job.task for job in first + second}) <= 100 + WOKEN_PER_WAITING_JOB


async def test_each_has_its_own_context(pool: Pool) -> None:
    """A context variable set by a job is visible to the tasks it creates, but never to other jobs."""
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

    await run(pool, body("a", waits=False), body("b", waits=True), body("c", waits=False))
    assert sorted(seen) == ["a", "b", "c", "nothing", "nothing", "nothing"]
    assert word.get() == "nothing"


async def test_a_cancellation_stays_with_its_job(pool: Pool) -> None:
    """A cancelled job ends, or continues if it catches the cancellation; other jobs are unaffected."""
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

    async def cooperative() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(60)

    async def bystander() -> None:
        await asyncio.sleep(0)
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
        ended.append("bystander")

    jobs = await run(pool, stubborn, cooperative, bystander, stubborn, bystander)
    assert sorted(ended) == ["bystander", "bystander", "stubborn", "stubborn"]
    later = await run(pool, bystander)
    assert later[0].task not in {job.task for job in (jobs[0], jobs[1], jobs[3])}


@pytest.mark.parametrize("woken", [False, True], ids=["while it is idle", "just when it gets a job"])
async def test_late_cancellation_of_a_task(pool: Pool, woken: bool) -> None:
    """Cancelling the task of a job after the job has ended does not affect later jobs."""

    async def nothing() -> None:
        pass

    (job,) = await run(pool, nothing)
    assert job.task is not None
    if not woken:
        job.task.cancel()
        await run(pool, nothing, nothing)
        return
    started = asyncio.Event()

    async def begin_late() -> None:
        started.set()

    pool.start([Job(begin_late())])
    job.task.cancel()
    async with asyncio.timeout(5):
        await started.wait()


async def test_timeout_in_a_job(pool: Pool) -> None:
    """asyncio.timeout() in a job ends only the block that it surrounds."""
    ended: list[bool] = []

    async def limited() -> None:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(60)
        except TimeoutError:
            ended.append(True)

    jobs = await run(pool, limited)
    jobs += await run(pool, limited)
    assert ended == [True, True]
    assert jobs[0].task is jobs[1].task


async def test_jobs_that_have_not_started_are_withdrawn(pool: Pool) -> None:
    """Jobs that are withdrawn before they start never run."""

    async def never() -> None:
        raise AssertionError("it was withdrawn")

    jobs = [Job(never()) for _ in range(3)]
    pool.start(jobs)
    assert pool.withdraw() == [*jobs]
    await asyncio.sleep(0)
    assert [job.task for job in jobs] == [None, None, None]
    for job in jobs:
        job.coroutine.close()


async def test_a_bug_stops_no_other_job(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    """A job that raises is logged, and the jobs queued behind it run."""

    async def fail() -> None:
        raise RuntimeError("a bug")

    async def work() -> None:
        pass

    await run(pool, fail, work, work)
    assert "RuntimeError: a bug" in caplog.text


async def test_many_waiting_jobs_start_within_few_iterations(pool: Pool) -> None:
    """The number of workers doubles in each iteration, so 500 waiting jobs do not take hundreds of iterations."""
    started, iterations, gate = 0, 0, asyncio.Event()

    async def wait() -> None:
        nonlocal started
        started += 1
        await gate.wait()

    pool.start([Job(wait()) for _ in range(500)])
    while started < 500:
        await asyncio.sleep(0)
        iterations += 1
    assert iterations < 20
    gate.set()


async def test_an_idle_worker_keeps_no_reference_to_its_last_job(pool: Pool) -> None:
    """Objects in a job's code or context are freed when the job has ended."""

    class Payload:
        pass

    held = contextvars.ContextVar[Payload]("held")
    references: list[weakref.ref[Payload]] = []

    async def keep() -> None:
        payload = Payload()
        references.append(weakref.ref(payload))
        held.set(payload)
        await asyncio.sleep(0.001)

    await run(pool, *[keep] * 20)
    gc.collect()
    assert [reference() for reference in references] == [None] * 20


async def test_a_cancellation_that_is_undone(pool: Pool) -> None:
    """A job that cancels its task and calls uncancel() still ends its task, but no other."""
    ended: list[bool] = []

    async def undecided() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        task.uncancel()

    async def work() -> None:
        await asyncio.sleep(0)
        ended.append(True)

    await run(pool, undecided, work)
    await run(pool, work)
    assert ended == [True, True]


async def test_workers_end_with_their_jobs_after_close(pool: Pool) -> None:
    """A job that is running at close() continues, and its task ends with it."""
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    job = Job(wait())
    pool.start([job])
    await eventually(lambda: job.task is not None)
    pool.close()
    gate.set()
    await eventually(lambda: job.task is not None and job.task.done())
