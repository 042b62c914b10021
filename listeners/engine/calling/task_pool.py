"""Reusable asyncio tasks that run one call after another; a task per call costs more than most calls."""

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Coroutine, Generator
from typing import Any, Generic, TypeVar, cast

from listeners.runtime.logs import steady_logger

__all__ = ["Begin", "Rest", "Run", "Task", "TaskPool"]

log = steady_logger("triggerfish.host")

#: How many workers a job wakes when it waits while other jobs are queued. With two, the number of workers doubles in
#: each iteration of the event loop, and few are woken for nothing.
WOKEN_PER_WAITING_JOB = 2
#: How long jobs that never wait follow one another before others get a turn on the event loop.
TURN_SECONDS = 0.005
BUG = "unexpected error while running a call"

Job = TypeVar("Job")
Task = asyncio.Task[None]
#: Calls a function with arguments, in the context of a job (contextvars.Context.run).
Run = Callable[..., Any]
#: Runs a job on this task until it ends or waits for the first time. Returns the rest of one that waits; many never do.
Begin = Callable[[Job, Task, Run], Awaitable[None] | None]


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


class TaskPool(Generic[Job]):
    """Runs jobs on reused tasks: soon, in order, and any number concurrently. `begin` runs one.

    Each job has its own context, and a task to itself while it runs. It may cancel that task, since a cancelled task
    ends with its job. Jobs that never wait share one task, so there are only as many tasks as jobs waited concurrently.
    Cancelling the task of a job that has ended cancels the job that runs on it by then. `on_pause` is called after jobs
    that did not wait, before anything else runs on the event loop; it may start further ones.
    """

    def __init__(self, begin: Begin[Job], on_pause: Callable[[], object]) -> None:
        self._begin = begin
        self._on_pause = on_pause
        self._jobs: deque[Job] = deque()
        self._idle: list[asyncio.Future[None]] = []
        #: Keeps the tasks alive; the event loop holds only weak references.
        self._tasks: set[Task] = set()
        #: How many workers will check for a job in the next iteration of the event loop.
        self._woken = 0
        #: Whether a worker runs jobs that have not waited yet, after which it takes the next ones.
        self._has_turn = False
        self._closed = False

    def start(self, jobs: Collection[Job]) -> None:
        """Run jobs soon."""
        self._jobs.extend(jobs)
        if self._jobs and not self._woken and not self._has_turn:
            self._wake()

    def withdraw(self) -> list[Job]:
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
        task = cast("Task", asyncio.current_task())
        loop = asyncio.get_running_loop()
        self._woken -= 1
        try:
            while True:
                while self._jobs:
                    rest = self._take_turn(task)
                    if rest is not None:
                        self._wake_more()
                        await _until_ended(rest)
                        rest = None  # an idle worker keeps no reference to its last job
                    elif self._jobs and not _is_cancelled(task):
                        await asyncio.sleep(0)
                    if _is_cancelled(task):
                        return
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
            self._wake_more()

    def _take_turn(self, task: Task) -> Awaitable[None] | None:
        """Run jobs until one waits, none is left, or their time is over. Return the rest of the one that waits."""
        ends_at = time.monotonic() + TURN_SECONDS
        jobs, begin, rest, is_over = self._jobs, self._begin, None, False
        self._has_turn = True
        try:
            while jobs and rest is None and not is_over:
                run = contextvars.copy_context().run
                try:
                    rest = run(begin, jobs.popleft(), task, run)
                except Exception:  # a bug must not keep the other jobs from running
                    log.exception(BUG)
                # As in _is_cancelled(), whose call would cost as much as the rest of this line.
                is_over = task.cancelling() > 0 or getattr(task, "_must_cancel", False) or time.monotonic() >= ends_at
                if rest is not None or is_over or not jobs:
                    self._on_pause()
        finally:
            self._has_turn = False
        return rest


def _is_cancelled(task: Task) -> bool:
    """Return whether a task has been cancelled. Even if uncancel() was called, it raises that when it waits next."""
    return bool(task.cancelling() or getattr(task, "_must_cancel", False))


async def _until_ended(rest: Awaitable[None]) -> None:
    try:
        await rest
    except Exception:
        log.exception(BUG)
