"""Notices when a process of the app hangs."""

import contextlib
import os

from listeners.runtime.child_processes import READY

__all__ = ["Heartbeat"]

#: How long a process may be silent, once its host has started. Kubernetes restarts a pod whose probe fails this long.
SILENT_SECONDS = 30.0
CHUNK_BYTES = 65_536


class Heartbeat:
    """A pipe to which a process writes while it is not hung. `writer` is the descriptor that it inherits."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._started = False
        self._is_ready = False
        self._silent_seconds = 0.0

    def started(self) -> None:
        """Close this process's copy of the descriptor that the process has inherited."""
        os.close(self.writer)

    def is_ready(self) -> bool:
        """Return whether the process has reported that it is ready."""
        if self._has_beaten():
            self._started, self._silent_seconds = True, 0.0
        return self._is_ready

    def has_started(self) -> bool:
        """Return whether the process has ever written: its host has started."""
        return self.is_ready() or self._started

    def has_stopped(self, seconds: float) -> bool:
        """Return whether the process has become silent for too long, `seconds` after the last such question.

        Of a long time, in which both processes may have been suspended, only half of what is allowed counts.
        """
        if self._has_beaten():
            self._started, self._silent_seconds = True, 0.0
        elif self._started:
            self._silent_seconds += min(seconds, SILENT_SECONDS / 2)
        return self._silent_seconds > SILENT_SECONDS

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._reader)

    def _has_beaten(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            read = os.read(self._reader, CHUNK_BYTES)
            self._is_ready = self._is_ready or READY in read
            return bool(read)
        return False
