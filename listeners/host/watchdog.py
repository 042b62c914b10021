"""Notices when a function blocks the host's event loop."""

import asyncio
import contextlib
import faulthandler
import threading
import time

from prometheus_client import Counter

from listeners.runtime.code_locations import busy_at
from listeners.runtime.logs import steady_logger

__all__ = ["Watchdog"]

log = steady_logger("triggerfish.host")

#: How often the loop shows that it runs, and how often that is looked at.
BEAT_SECONDS = 0.5
#: From when on a loop counts as blocked.
BLOCKED_SECONDS = 2.0
#: When the stacks of all threads are written to stderr, if not even the watchdog can run: something holds the GIL.
HELD_GIL_SECONDS = 10.0
#: The file descriptor of the standard error output: an app may replace sys.stderr by an object that has none.
STDERR = 2


class Watchdog:
    """Watches an event loop from another thread, and logs where it stands when it is blocked.

    `hung_after_seconds`: how long the loop may be blocked before the process counts as hung. With `dump_stacks`, it
    uses faulthandler's one timer, which only the owner of the process may do.
    """

    def __init__(self, blocks: Counter, *, hung_after_seconds: float, dump_stacks: bool) -> None:
        self._blocks = blocks
        self._hung_after_seconds = hung_after_seconds
        self._dump_stacks = dump_stacks
        self._beat_at = time.monotonic()
        self._thread_id = threading.get_ident()
        self._timer: asyncio.TimerHandle | None = None
        #: Each block is reported once: by the other thread, or at its end if that could not run.
        self._lock = threading.Lock()
        self._is_reported = False

    def start(self) -> None:
        """Begin on the event loop to watch, on its thread."""
        self._thread_id = threading.get_ident()
        self._beat_at = time.monotonic()
        self._beat(asyncio.get_running_loop())

    def stop(self) -> None:
        """End the watch, on the same thread."""
        if self._timer is not None:
            self._timer.cancel()

    def blocked_seconds(self) -> float:
        """Return for how long the loop has not run."""
        return max(0.0, time.monotonic() - self._beat_at - BEAT_SECONDS)

    def is_hung(self) -> bool:
        """Return whether the loop has been blocked for longer than a call may take."""
        return self.blocked_seconds() > self._hung_after_seconds

    async def watch(self) -> None:
        """Look at the loop until cancelled, on another thread's loop."""
        try:
            while True:
                if self._dump_stacks:
                    with contextlib.suppress(OSError, RuntimeError):  # no thread can be started
                        faulthandler.dump_traceback_later(HELD_GIL_SECONDS, file=STDERR)
                self._look()
                await asyncio.sleep(BEAT_SECONDS)
        finally:
            if self._dump_stacks:
                faulthandler.cancel_dump_traceback_later()

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            seconds = self.blocked_seconds()
            was_reported, self._is_reported = self._is_reported, False
            self._beat_at = time.monotonic()
        if was_reported:
            log.warning("the event loop runs again")
        elif seconds > BLOCKED_SECONDS:
            self._blocks.inc()
            log.error(
                "the event loop was blocked for %.1f s, as was the thread that reports the line: code held the GIL, or "
                "the process was suspended. Bound the input of regular expressions and of other code written in C",
                seconds,
            )
        self._timer = loop.call_later(BEAT_SECONDS, self._beat, loop)

    def _look(self) -> None:
        with self._lock:
            seconds = self.blocked_seconds()
            if seconds <= BLOCKED_SECONDS or self._is_reported:
                return
            self._is_reported = True
        self._blocks.inc()
        log.error(
            "the event loop has been blocked for %.1f s, by %s: no other call runs meanwhile. "
            "Await what takes long, or declare the function with def, so that it runs on a thread",
            seconds,
            busy_at(self._thread_id) or "code outside of the app",
        )
