"""The clock that leases are counted on."""

import functools
import time
from collections.abc import Callable

__all__ = ["boot_seconds", "lease_end"]

#: A holder stops this part of a lease before its end, for what is already on its way to a function.
MARGIN = 0.1


_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


#: Seconds on a clock that also runs while the machine is suspended, where there is one. It is asked before each call.
boot_seconds: Callable[[], float] = functools.partial(time.clock_gettime, _CLOCK)


def lease_end(sent_at: float, lease_seconds: float) -> float:
    """Until when a lease is relied on that was asked for at `sent_at`: never later than Redis has it."""
    return sent_at + lease_seconds * (1 - MARGIN)
