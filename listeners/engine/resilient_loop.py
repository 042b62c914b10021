"""Keeps a listener running through every Redis failure."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from listeners.errors import SourceError
from listeners.runtime.backoff import Backoff
from listeners.runtime.logs import steady_logger
from listeners.runtime.tasks import raise_if_cancelled, wait_for_event

__all__ = ["FAILED", "LAST_PAUSE_SECONDS", "ResilientLoop", "last_step"]

log = steady_logger("triggerfish.host")

FIRST_PAUSE_SECONDS = 0.05
LAST_PAUSE_SECONDS = 5.0
#: What last_step() returns if the step failed.
FAILED: Final = object()


class ResilientLoop:
    """Repeats the step of one activity, such as fetching or settling.

    A step that raises is counted, logged once per change of state, and retried after a capped, jittered pause. An error
    never ends the activity. `on_error` is called with the reason, `on_state` with the name and whether it works.
    `max_pause_seconds` bounds the pause.
    """

    def __init__(
        self, name: str, step: Callable[[], Awaitable[object]], *, on_error: Callable[[str], object],
        on_state: Callable[[str, bool], object], max_pause_seconds: float = LAST_PAUSE_SECONDS,
    ) -> None:  # fmt: skip
        self.name = name
        self._step = step
        self._on_error = on_error
        self._on_state = on_state
        self._failing_reason: str | None = None
        self._failing_since = 0.0
        self._backoff = Backoff(FIRST_PAUSE_SECONDS, max_pause_seconds)

    async def run(self, stop: asyncio.Event) -> None:
        """Repeat the step until `stop` is set. It is checked between steps, and ends a pause."""
        task = asyncio.current_task()
        while not stop.is_set():
            succeeded = await self.run_once()
            raise_if_cancelled(task)
            if not succeeded:
                await wait_for_event(stop, self._backoff.pause_seconds())

    async def run_once(self) -> bool:
        """Run one step and return whether it succeeded."""
        try:
            await self._step()
        except SourceError as error:
            self._failed(error.reason, str(error))
            return False
        except Exception as error:  # a bug must not end a listener either
            if self._failing_reason != "internal":
                log.exception("%s: unexpected error", self.name)
            self._failed("internal", f"{type(error).__name__}: {error}")
            return False
        self._succeeded()
        return True

    def _failed(self, reason: str, message: str) -> None:
        self._on_error(reason)
        if reason == self._failing_reason:
            return
        if self._failing_reason is None:
            self._failing_since = time.monotonic()
            self._on_state(self.name, False)
        self._failing_reason = reason
        log.warning("%s: %s (%s); retrying until it succeeds", self.name, message, reason)

    def _succeeded(self) -> None:
        self._backoff.reset()
        if self._failing_reason is not None:
            log.warning("%s recovered after %.1f s", self.name, time.monotonic() - self._failing_since)
            self._failing_reason = None
            self._on_state(self.name, True)


async def last_step(name: str, doing: str, step: Awaitable[Any], seconds: float) -> Any:
    """Run one last step against Redis, and return its result. If it fails, the leases expire, and others take over."""
    try:
        async with asyncio.timeout(seconds):
            return await step
    except (SourceError, TimeoutError) as error:
        log.warning("%s: %s failed during shutdown: %s", name, doing, error or "no answer in time")
    except Exception:  # a bug must not keep the other functions from draining
        log.exception("%s: unexpected error while %s during shutdown", name, doing)
    return FAILED
