"""Child processes that do not outlive this one."""

import ctypes
import signal
import sys
from collections.abc import Callable

__all__ = ["die_with_parent"]

PR_SET_PDEATHSIG = 1


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
