"""Renews the leases of a function's entries, on a thread of its own."""

import asyncio
from collections.abc import Callable

from listeners.engine.in_progress import InProgress
from listeners.engine.resilient_loop import LAST_PAUSE_SECONDS, ResilientLoop
from listeners.engine.source import LeaseRenewal

__all__ = ["RENEWALS_PER_LEASE", "LeaseKeeper"]

#: Renewals within one lease time, so that two may fail.
RENEWALS_PER_LEASE = 3


class LeaseKeeper:
    """Renews leases on another event loop than the host's, so that a call that blocks that loop does not lose them.

    They are those of the entries in progress, and of those that the source keeps.

    `lease_seconds`: how long a lease lasts without a renewal.
    """

    def __init__(
        self,
        name: str,
        in_progress: InProgress,
        renewal: LeaseRenewal,
        *,
        lease_seconds: float,
        on_error: Callable[[str], object],
        on_state: Callable[[str, bool], object],
    ) -> None:
        self._in_progress = in_progress
        self._renewal = renewal
        self._pause_seconds = lease_seconds / RENEWALS_PER_LEASE
        self._is_hung: Callable[[], bool] = lambda: False
        self._loop = ResilientLoop(
            f"{name}: renewing",
            self._renew,
            on_error=on_error,
            on_state=on_state,
            # Redis may refuse the leases of one key only; those of the others must be renewed in time.
            max_pause_seconds=min(LAST_PAUSE_SECONDS, self._pause_seconds),
        )

    async def run(self, is_hung: Callable[[], bool]) -> None:
        """Renew until cancelled, but not while `is_hung()`: a host that hangs must not hold its entries for ever."""
        self._is_hung = is_hung
        await self._loop.run(asyncio.Event())

    async def _renew(self) -> None:
        # The pause comes last, so that it does not delay the retry of a failed renewal.
        if not self._is_hung():
            await self._renewal.renew(self._in_progress.entries)
        await asyncio.sleep(self._pause_seconds)
