"""Tasks that run one call after the other: one for each would cost more than most calls take."""

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any

__all__ = ["Job", "Workers"]

log = logging.getLogger("triggerfish.host")

#: Workers that are woken at one time while jobs wait: two, so that many get theirs within few rounds of the loop.
MAX_WOKEN = 2


class Job:
    """A coroutine to be run; `task` is the one that runs it, as soon as it has begun."""

    __slots__ = ("coroutine", "task")

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.coroutine = coroutine
        self.task: asyncio.Task[None] | None = None


class Workers:
    """Runs jobs on tasks that are kept: at once, in their order, and however many at the same time.

    A job sees a task and a context of its own, which it may cancel or change: no cancellation reaches the next job, as
    a task that was cancelled ends with its job. Jobs that never wait share one task, so there are as many tasks as jobs
    waited at the same time.
    """

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._idle: list[asyncio.Future[None]] = []
        #: The loop itself would let go of a task that waits.
        self._tasks: set[asyncio.Task[None]] = set()
        self._woken = 0

    def start(self, job: Job) -> None:
        """Run a job soon."""
        self._jobs.append(job)
        if not self._woken:
            self._wake()

    def withdraw(self) -> list[Job]:
        """Take back the jobs that have not begun."""
        jobs = list(self._jobs)
        self._jobs.clear()
        for job in jobs:
            job.coroutine.close()
        return jobs

    def close(self) -> None:
        """End the tasks that have no job; the others end with theirs if they are cancelled."""
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
        while self._jobs and self._woken < MAX_WOKEN:
            self._wake()

    async def _work(self) -> None:
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        self._woken -= 1
        try:
            while True:
                while self._jobs:
                    job = self._jobs.popleft()
                    job.task = task
                    run = contextvars.copy_context().run
                    try:
                        try:
                            awaited = run(job.coroutine.send, None)
                        except StopIteration:  # it has ended, without having waited
                            pass
                        else:
                            self._wake_more()
                            await _Rest(job.coroutine, run, awaited)
                    except Exception:  # a mistake of ours must not keep the other jobs from running
                        log.exception("a call failed in a way that was not foreseen")
                    if task is not None and task.cancelling():
                        return
                idle = loop.create_future()
                self._idle.append(idle)
                try:
                    await idle
                finally:
                    if idle.done() and not idle.cancelled():
                        self._woken -= 1
        finally:
            self._wake_more()


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
