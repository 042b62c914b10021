"""The clock for leases."""

import functools
import time
from collections.abc import Callable

__all__ = ["boot_seconds", "lease_end"]

#: The fraction of a lease that its holder leaves unused, so that a call about to start still starts within the lease.
MARGIN = 0.1


def _boot_clock() -> Callable[[], float]:
    """Return the clock that counts suspended time: CLOCK_BOOTTIME (Linux), CLOCK_MONOTONIC (macOS), none on Windows."""
    if not hasattr(time, "clock_gettime"):
        return time.monotonic
    return functools.partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


#: Seconds on a clock that also runs while the machine is suspended, if there is one. Read before every call.
boot_seconds: Callable[[], float] = _boot_clock()


def lease_end(sent_at: float, lease_seconds: float) -> float:
    """Return when to stop relying on a lease that was requested at `sent_at`, always before it expires in Redis."""
    return sent_at + lease_seconds * (1 - MARGIN)
