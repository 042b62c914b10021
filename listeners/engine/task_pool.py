"""Tasks that run one call after the other: one for each would cost more than most calls take."""

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any

__all__ = ["PooledTask", "TaskPool"]

log = logging.getLogger("triggerfish.host")

#: So many workers are woken for each job that waits while others stand behind it: with two their number doubles with
#: each round of the loop, and so few are woken for nothing.
WOKEN_BY_EACH = 2


class PooledTask:
    """A coroutine to be run; `task` is the one that runs it, as soon as it has begun."""

    __slots__ = ("coroutine", "task")

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.coroutine = coroutine
        self.task: asyncio.Task[None] | None = None


class TaskPool:
    """Runs jobs on tasks that are kept: soon, in their order, and however many at the same time.

    A job has a context of its own, and while it runs a task that it may cancel: a task that was cancelled ends with its
    job. Jobs that never wait share one task, so there are as many tasks as jobs waited at the same time. Whoever keeps
    a job's task and cancels it after the job has ended hits the job that has the task then.
    """

    def __init__(self) -> None:
        self._jobs: deque[PooledTask] = deque()
        self._idle: list[asyncio.Future[None]] = []
        #: The loop itself would let go of a task that waits.
        self._tasks: set[asyncio.Task[None]] = set()
        #: Workers that will look for a job in the next round of the loop.
        self._woken = 0
        self._closed = False

    def start(self, job: PooledTask) -> None:
        """Run a job soon."""
        self._jobs.append(job)
        if not self._woken:
            self._wake()

    def withdraw(self) -> list[PooledTask]:
        """Take back the jobs that have not begun."""
        jobs = list(self._jobs)
        self._jobs.clear()
        for job in jobs:
            job.coroutine.close()
        return jobs

    def close(self) -> None:
        """End the tasks that have no job now, and the others as soon as theirs have ended."""
        self._closed = True
        self.withdraw()
        for idle in self._idle:
            idle.cancel()

    def _wake(self) -> None:
        self._woken += 1
        while self._idle:
            idle = self._idle.pop()
            if not idle.done():  # somebody may have cancelled its task
                idle.set_result(None)
                return
        task = asyncio.create_task(self._work(), name="worker")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _wake_more(self) -> None:
        """A job waits: those behind it must not."""
        for _ in range(min(WOKEN_BY_EACH, len(self._jobs) - self._woken)):
            self._wake()

    async def _work(self) -> None:
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        self._woken -= 1
        try:
            while True:
                while self._jobs:
                    await self._do(self._jobs.popleft(), task)
                    if _was_cancelled(task):
                        return
                if self._closed:
                    return
                idle = loop.create_future()
                self._idle.append(idle)
                try:
                    await idle
                finally:
                    if idle.done() and not idle.cancelled():  # then we count as woken, even if we are cancelled now
                        self._woken -= 1
        finally:
            self._wake_more()

    async def _do(self, job: PooledTask, task: "asyncio.Task[None] | None") -> None:
        """Run one job to its end. A method of its own, so that a worker without a job keeps nothing of the last one."""
        job.task = task
        run = contextvars.copy_context().run
        try:
            try:
                awaited = run(job.coroutine.send, None)
            except StopIteration:  # it has ended, without having waited
                return
            self._wake_more()
            await _Rest(job.coroutine, run, awaited)
        except Exception:  # a mistake of ours must not keep the other jobs from running
            log.exception("a call failed in a way that was not foreseen")


def _was_cancelled(task: "asyncio.Task[None] | None") -> bool:
    """Whether a task was cancelled; also one that took that back before it was noticed, as it will be regardless."""
    return task is not None and (task.cancelling() > 0 or getattr(task, "_must_cancel", False))


class _Rest:
    """Awaits the rest of a coroutine that waits for `awaited`; each of its steps is made by `run`, in its context."""

    __slots__ = ("_awaited", "_coroutine", "_run")

    def __init__(self, coroutine: Coroutine[Any, Any, None], run: Callable[..., Any], awaited: Any) -> None:
        self._coroutine = coroutine
        self._run = run
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, None]:
        coroutine, run, awaited = self._coroutine, self._run, self._awaited
        while True:
            step: Callable[[Any], Any] = coroutine.send
            value: Any
            try:
                value = yield awaited
            except GeneratorExit:
                run(coroutine.close)
                raise
            except BaseException as error:  # noqa: BLE001  (a cancellation above all; it is for the coroutine to handle)
                step, value = coroutine.throw, error
            try:
                awaited = run(step, value)
            except StopIteration:
                return
