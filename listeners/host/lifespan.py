"""Enters the app's lifespan before the first entry is taken, and leaves it after the last call."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

from listeners.errors import LifespanError
from listeners.functions.lifespan import LifespanFunction
from listeners.runtime.code_locations import suspended_at, without_own_frames
from listeners.runtime.logs import steady_logger
from listeners.text import describe_exception

__all__ = ["Lifespan"]

log = steady_logger("triggerfish.host")

#: How often a lifespan that has not yielded yet is reported.
STILL_STARTING_SECONDS = 10.0
#: How long a cancelled lifespan may take to clean up.
CLEAN_UP_SECONDS = 1.0
ENDED: Final = object()
SECOND_YIELD = "it has yielded a second time: yield once, and close after that what it has opened"


class Lifespan:
    """Runs the lifespan in a task, because what it opens may belong to one: a timeout or a TaskGroup.

    `state` is what it has yielded. `on_lost` is called if it ends while the app runs.
    """

    def __init__(self, function: LifespanFunction | None, app_name: str, *, on_lost: Callable[[], object]) -> None:
        self.state: Any = None
        self.is_entering = False
        self._function = function
        self._app_name = app_name
        self._on_lost = on_lost
        self._generator: AsyncGenerator[Any, None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._entered = asyncio.Event()
        self._leaving = asyncio.Event()
        self._error: BaseException | None = None

    async def enter(self, stop: asyncio.Event) -> bool:
        """Run it to its yield. Return False if `stop` was set before. Raises LifespanError."""
        if self._function is None or stop.is_set():
            return not stop.is_set()
        self.is_entering = True
        try:
            self._task = asyncio.create_task(self._run(self._function), name="lifespan")
            await self._wait_until_entered(self._task, stop)
            if self._error is not None:
                log.error("%s: entering the lifespan failed", self._app_name, exc_info=self._error)
                raise LifespanError(f"entering it: {describe_exception(self._error)}") from self._error
        finally:
            if self._task is not None and not self._entered.is_set():
                await self._cancel(self._task, "it has not started yet")
            self.is_entering = False
        return self._entered.is_set()

    async def leave(self, seconds: float) -> None:
        """Run it to its end, for about `seconds` at most. Raises LifespanError if it had ended while the app ran."""
        if self._task is None:
            return
        if self._error is not None:
            raise LifespanError(f"while the app was running: {describe_exception(self._error)}") from self._error
        self._leaving.set()
        await asyncio.wait([self._task], timeout=seconds)
        await self._cancel(self._task, f"it has not ended within {seconds:.1f} s")

    async def _wait_until_entered(self, task: "asyncio.Task[None]", stop: asyncio.Event) -> None:
        """Wait until it has yielded, failed or `stop` is set, and report from time to time that it has not."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._entered, stop)]
        began = time.monotonic()
        try:
            while True:
                done, _ = await asyncio.wait(
                    [task, *waits], timeout=STILL_STARTING_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if done:
                    return
                seconds = time.monotonic() - began
                log.warning("%s: the lifespan is still starting after %.0f s%s", self._app_name, seconds, self._where())
        finally:
            for wait in waits:
                wait.cancel()

    async def _run(self, function: LifespanFunction) -> None:
        """Run it to its end. `_error` is what ended it before it was left."""
        generator = self._generator = function()
        try:
            self.state = await _first(generator)
            self._entered.set()
            await self._until_left(generator)
        except BaseException as error:  # not even its SystemExit may end the event loop
            self._error = without_own_frames(error)
            if self._entered.is_set():
                log.exception("%s: the lifespan has ended while the app runs", self._app_name)
                self._on_lost()
            return
        try:
            await _last(generator)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            log.exception("%s: leaving the lifespan failed", self._app_name, exc_info=without_own_frames(error))

    async def _until_left(self, generator: AsyncGenerator[Any, None]) -> None:
        """Wait for leave(). Raises what ends the lifespan before."""
        try:
            await self._leaving.wait()
        except asyncio.CancelledError as cancelled:  # by a timeout or a TaskGroup of the lifespan
            try:
                await generator.athrow(cancelled)
            except StopAsyncIteration:
                raise LifespanError("it has ended after a cancellation") from cancelled
            raise LifespanError(SECOND_YIELD) from cancelled

    async def _cancel(self, task: "asyncio.Task[None]", why: str) -> None:
        """Cancel it if it still runs, and give it some time to clean up."""
        if task.done():
            return
        log.warning("%s: cancelling the lifespan: %s%s", self._app_name, why, self._where())
        task.cancel()
        await asyncio.wait([task], timeout=CLEAN_UP_SECONDS)
        if not task.done():
            log.warning("%s: the lifespan ignores its cancellation%s", self._app_name, self._where())

    def _where(self) -> str:
        if self._generator is None or self._function is None:
            return ""
        where = suspended_at(self._generator, self._function)
        return f" ({where})" if where else ""


async def _first(generator: AsyncGenerator[Any, None]) -> Any:
    try:
        return await anext(generator)
    except StopAsyncIteration:
        raise LifespanError("it has ended without a yield: yield once, even if there is nothing to yield") from None


async def _last(generator: AsyncGenerator[Any, None]) -> None:
    if await anext(generator, ENDED) is not ENDED:
        await generator.aclose()
        raise LifespanError(SECOND_YIELD)
