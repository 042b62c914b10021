"""Notices when a process of the app hangs."""

import contextlib
import os

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
        self._silent_seconds = 0.0

    def started(self) -> None:
        """Close this process's copy of the descriptor that the process has inherited."""
        os.close(self.writer)

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
            return bool(os.read(self._reader, CHUNK_BYTES))
        return False
