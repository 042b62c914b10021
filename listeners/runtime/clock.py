"""The clock that leases are counted on."""

import functools
import time
from collections.abc import Callable

__all__ = ["boot_seconds", "lease_end"]

#: The holder gives up this part of a lease, for calls that are about to begin at its end.
MARGIN = 0.1


def _boot_clock() -> Callable[[], float]:
    """Linux counts suspended time in CLOCK_BOOTTIME, macOS in CLOCK_MONOTONIC; Windows does not count it at all."""
    if not hasattr(time, "clock_gettime"):
        return time.monotonic
    return functools.partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


#: Seconds on a clock that also runs while the machine is suspended, where there is one. Read before every call.
boot_seconds: Callable[[], float] = _boot_clock()


def lease_end(sent_at: float, lease_seconds: float) -> float:
    """When to stop relying on a lease that was requested at `sent_at`: never later than Redis does."""
    return sent_at + lease_seconds * (1 - MARGIN)
