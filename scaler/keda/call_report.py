"""The outcome of a call that `probe` makes."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import grpc

from listeners.text import shortened

__all__ = ["DOUBT_KEY", "PROBE_KEY", "CallReport", "UnusableError", "timed"]

#: The metadata with which `probe` asks IsActive for more than KEDA does, and of the answer to that.
PROBE_KEY, DOUBT_KEY = "triggerfish-probe", "triggerfish-doubt-bin"
#: More than a scaler of Triggerfish sends.
MAX_CHARACTERS = 2_000


@dataclass(frozen=True)
class CallReport:
    """The outcome of one call: its duration (None if skipped), its status, and what KEDA sees or what is wrong."""

    call: str
    seconds: float | None
    status: str
    seen: str

    @property
    def failed(self) -> bool:
        """Whether the call was made and KEDA cannot use the answer."""
        return self.seconds is not None and self.status != "OK"


class UnusableError(Exception):
    """An answer arrived, but it cannot be used."""


async def timed(name: str, call: Callable[[], Awaitable[str]]) -> CallReport:
    """Make a call and report its outcome."""
    began = time.monotonic()
    try:
        status, seen = "OK", await call()
    except grpc.aio.AioRpcError as error:
        status, seen = error.code().name, error.details() or ""
    except UnusableError as error:
        status, seen = "unusable", str(error)
    return CallReport(name, time.monotonic() - began, status, shortened(seen, MAX_CHARACTERS))
