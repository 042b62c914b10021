"""Child processes that do not outlive this one, and whose parent notices when they hang."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable

__all__ = ["HEARTBEAT_VARIABLE", "READY", "die_with_parent", "inherited_heartbeat", "send_heartbeat"]

PR_SET_PDEATHSIG = 1
#: Holds the file descriptor of a pipe from a child process to its parent.
HEARTBEAT_VARIABLE = "TRIGGERFISH_HEARTBEAT"
BEAT_SECONDS = 1.0
#: How often a process looks whether it is ready, which its parent may wait for.
NOT_READY_SECONDS = 0.1
#: What is written once the process is ready, and before.
READY, NOT_READY = b"r", b"."


def die_with_parent(number: signal.Signals = signal.SIGTERM) -> Callable[[], None] | None:
    """Return a `preexec_fn` for subprocess that has the kernel send the child a signal when its parent dies, even by
    SIGKILL (prctl PR_SET_PDEATHSIG).

    Return None on systems other than Linux, where a child that is not stopped outlives its parent.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)  # loaded here, as only system calls are safe after fork()

    def request_signal() -> None:
        libc.prctl(PR_SET_PDEATHSIG, number)

    return request_signal


def inherited_heartbeat() -> int | None:
    """Return the descriptor that HEARTBEAT_VARIABLE names, and remove it from the environment."""
    descriptor = os.environ.pop(HEARTBEAT_VARIABLE, None)
    return int(descriptor) if descriptor is not None else None


async def send_heartbeat(descriptor: int, is_hung: Callable[[], bool], is_ready: Callable[[], bool]) -> None:
    """Write a byte to the pipe every BEAT_SECONDS until cancelled, but not while `is_hung()`. It tells `is_ready()`."""
    os.set_blocking(descriptor, False)
    while True:
        ready = is_ready()
        if not is_hung():
            with contextlib.suppress(OSError):  # the pipe is full, or nothing reads it any more
                os.write(descriptor, READY if ready else NOT_READY)
        await asyncio.sleep(BEAT_SECONDS if ready else NOT_READY_SECONDS)
