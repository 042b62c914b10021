"""Child processes that do not outlive this one."""

import ctypes
import signal
import sys
from collections.abc import Callable

__all__ = ["die_with_parent"]

PR_SET_PDEATHSIG = 1


def die_with_parent(number: signal.Signals = signal.SIGTERM) -> Callable[[], None] | None:
    """A preexec_fn for subprocess: the kernel sends the child this signal when its parent dies, even by SIGKILL (Linux
    prctl, PR_SET_PDEATHSIG).

    None on other systems, where a child that is not stopped outlives its parent.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)  # loaded here: after fork() only system calls are safe

    def ask_for_signal() -> None:
        libc.prctl(PR_SET_PDEATHSIG, number)

    return ask_for_signal
