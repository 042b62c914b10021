"""The host's second thread: renews leases, answers probes and watches the first, whatever a function does there."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from listeners.runtime.logs import steady_logger
from listeners.runtime.tasks import cancel_until_done

__all__ = ["Supervisor"]

log = steady_logger("triggerfish.host")

Result = TypeVar("Result")
STOP_SECONDS = 5.0


class Supervisor:
    """A thread with an event loop of its own. Its tasks run until stop()."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def add(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a task until stop(). It ends by itself only with an error, which is logged."""
        self._loop.call_soon_threadsafe(self._start_task, task)

    async def call(self, step: Coroutine[Any, Any, Result]) -> Result:
        """Run one step there and return its result."""
        future: Future[Result] = asyncio.run_coroutine_threadsafe(step, self._loop)
        return await asyncio.wrap_future(future)

    async def stop(self) -> None:
        """Cancel the tasks, wait for them at most STOP_SECONDS, and end the thread."""
        await self.call(self._cancel_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join, STOP_SECONDS)

    def _start_task(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        started = self._loop.create_task(task())
        started.add_done_callback(_log_error)
        self._tasks.append(started)

    async def _cancel_tasks(self) -> None:
        await cancel_until_done(self._tasks, STOP_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()


def _log_error(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a task of the supervisor ended with an unexpected error", exc_info=error)
