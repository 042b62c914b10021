"""Reusable asyncio tasks that run one call after another; a task per call costs more than most calls."""

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, cast

from listeners.runtime.logs import steady_logger

__all__ = ["PooledTask", "Rest", "Run", "TaskPool"]

log = steady_logger("triggerfish.host")

#: How many workers a job wakes when it waits while other jobs are queued. With two, the number of workers doubles in
#: each iteration of the event loop, and few are woken for nothing.
WOKEN_PER_WAITING_JOB = 2
#: How long jobs that never wait follow one another before others get a turn on the event loop.
TURN_SECONDS = 0.005
BUG = "unexpected error while running a call"


#: Calls a function with arguments, in the context of a job (contextvars.Context.run).
Run = Callable[..., Any]


class PooledTask:
    """A job. `task` is the asyncio task that runs it, once it has started."""

    __slots__ = ("task",)

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None

    def begin(self, run: Run) -> Awaitable[None] | None:
        """Run until the job ends or waits for the first time. Return the rest of one that waits; many never do."""
        raise NotImplementedError


class Rest:
    """Awaits the rest of a coroutine that waits for `awaited`. `run` makes each of its steps, in the job's context."""

    __slots__ = ("_awaited", "_coroutine", "_run")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], run: Run, awaited: Any) -> None:
        self._coroutine = coroutine
        self._run = run
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, Any]:
        coroutine, run, awaited = self._coroutine, self._run, self._awaited
        while True:
            step: Callable[[Any], Any] = coroutine.send
            value: Any
            try:
                value = yield awaited
            except GeneratorExit:
                run(coroutine.close)
                raise
            except BaseException as error:  # noqa: BLE001  (above all a cancellation, which the coroutine handles)
                step, value = coroutine.throw, error
            try:
                awaited = run(step, value)
            except StopIteration as end:
                return end.value


class TaskPool:
    """Runs jobs on reused tasks: soon, in order, and any number concurrently.

    Each job has its own context, and a task to itself while it runs. It may cancel that task, since a cancelled task
    ends with its job. Jobs that never wait share one task, so there are only as many tasks as jobs waited concurrently.
    Cancelling the task of a job that has ended cancels the job that runs on it by then.
    """

    def __init__(self) -> None:
        self._jobs: deque[PooledTask] = deque()
        self._idle: list[asyncio.Future[None]] = []
        #: Keeps the tasks alive; the event loop holds only weak references.
        self._tasks: set[asyncio.Task[None]] = set()
        #: How many workers will check for a job in the next iteration of the event loop.
        self._woken = 0
        #: Whether a worker runs a job that has not waited yet, after which it takes the next one.
        self._has_turn = False
        self._closed = False

    def start(self, job: PooledTask) -> None:
        """Run a job soon."""
        self._jobs.append(job)
        if not self._woken and not self._has_turn:
            self._wake()

    def withdraw(self) -> list[PooledTask]:
        """Remove and return the jobs that have not started."""
        jobs = list(self._jobs)
        self._jobs.clear()
        return jobs

    def close(self) -> None:
        """End the tasks that have no job now, and the others as soon as their job has ended."""
        self._closed = True
        self.withdraw()
        for idle in self._idle:
            idle.cancel()

    def _wake(self) -> None:
        self._woken += 1
        while self._idle:
            idle = self._idle.pop()
            if not idle.done():  # its task may have been cancelled
                idle.set_result(None)
                return
        task = asyncio.create_task(self._work(), name="worker")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _wake_more(self) -> None:
        """Wake workers for the jobs queued behind a job that waits."""
        for _ in range(min(WOKEN_PER_WAITING_JOB, len(self._jobs) - self._woken)):
            self._wake()

    async def _work(self) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        loop = asyncio.get_running_loop()
        self._woken -= 1
        try:
            while True:
                turn_ends_at = time.monotonic() + TURN_SECONDS
                while self._jobs:
                    self._has_turn = True
                    rest = self._begin_next(task)
                    self._has_turn = False
                    if rest is not None:
                        self._wake_more()
                        await _until_ended(rest)
                        rest = None  # an idle worker keeps no reference to its last job
                    # Even if uncancel() was called, the cancellation is raised when the task waits next.
                    if task.cancelling() or getattr(task, "_must_cancel", False):
                        return
                    if time.monotonic() >= turn_ends_at:
                        await asyncio.sleep(0)
                        turn_ends_at = time.monotonic() + TURN_SECONDS
                if self._closed:
                    return
                idle = loop.create_future()
                self._idle.append(idle)
                try:
                    await idle
                finally:
                    if idle.done() and not idle.cancelled():  # it counts as woken, even if it is being cancelled
                        self._woken -= 1
        finally:
            self._has_turn = False
            self._wake_more()

    def _begin_next(self, task: "asyncio.Task[None]") -> Awaitable[None] | None:
        job = self._jobs.popleft()
        job.task = task
        try:
            return job.begin(contextvars.copy_context().run)
        except Exception:  # a bug must not keep the other jobs from running
            log.exception(BUG)
            return None


async def _until_ended(rest: Awaitable[None]) -> None:
    try:
        await rest
    except Exception:
        log.exception(BUG)
