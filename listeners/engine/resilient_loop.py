"""Keeps what a listener does going through every trouble of Redis."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from listeners.errors import SourceError
from listeners.runtime.backoff import Backoff
from listeners.runtime.tasks import raise_if_cancelled, wait_for_event

__all__ = ["ResilientLoop"]

log = logging.getLogger("triggerfish.host")

FIRST_PAUSE_SECONDS = 0.05
LAST_PAUSE_SECONDS = 5.0


class ResilientLoop:
    """One thing that is done again and again: taking, settling, renewing, maintaining.

    A step that raises is logged once per change of state, counted, and tried again after a capped, jittered pause. An
    activity never ends because of an error. `on_error` is told the reason, `on_state` whether the activity works.
    """

    def __init__(
        self, name: str, step: Callable[[], Awaitable[object]], *, on_error: Callable[[str], object],
        on_state: Callable[[str, bool], object],
    ) -> None:  # fmt: skip
        self.name = name
        self._step = step
        self._on_error = on_error
        self._on_state = on_state
        self._trouble: str | None = None
        self._since = 0.0
        self._backoff = Backoff(FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS)

    async def run(self, stop: asyncio.Event) -> None:
        """Repeat the step until `stop` is set. It is looked at between steps."""
        task = asyncio.current_task()
        while not stop.is_set():
            worked = await self.run_once()
            raise_if_cancelled(task)
            if not worked:
                await wait_for_event(stop, self._backoff.pause_seconds())

    async def run_once(self) -> bool:
        """Do one step; whether it worked."""
        try:
            await self._step()
        except SourceError as error:
            self._failed(error.reason, str(error))
            return False
        except Exception as error:  # a mistake of ours must not end a listener either
            if self._trouble != "internal":
                log.exception("%s failed in a way that was not foreseen", self.name)
            self._failed("internal", f"{type(error).__name__}: {error}")
            return False
        self._succeeded()
        return True

    def _failed(self, reason: str, message: str) -> None:
        self._on_error(reason)
        if reason == self._trouble:
            return
        if self._trouble is None:
            self._since = time.monotonic()
            self._on_state(self.name, False)
        self._trouble = reason
        log.warning("%s: %s (%s); trying again until it works", self.name, message, reason)

    def _succeeded(self) -> None:
        self._backoff.reset()
        if self._trouble is not None:
            log.warning("%s works again after %.1f s", self.name, time.monotonic() - self._since)
            self._trouble = None
            self._on_state(self.name, True)
