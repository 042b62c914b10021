"""Renewal of leases while the host hangs."""

import asyncio
from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from listeners.engine.failures import FailureLog
from listeners.engine.in_progress import InProgress
from listeners.engine.lease_keeper import LeaseKeeper
from listeners.engine.metrics import FunctionMetrics, HostMetrics
from listeners.functions.entries import Entry
from listeners.functions.triggers import ListTrigger
from tests.support.waiting import eventually


class CountedRenewal:
    """Counts the renewals, in place of Redis."""

    def __init__(self) -> None:
        self.renewals = 0

    async def renew(self, entries: Sequence[Entry]) -> None:
        """Count one."""
        self.renewals += 1

    async def close(self) -> None:
        """Do nothing."""


async def test_leases_are_not_renewed_while_the_host_hangs() -> None:
    """Leases of a host that hangs end, so that other hosts get its entries. They are renewed again when it runs."""
    metrics = FunctionMetrics(HostMetrics(CollectorRegistry()), "app", "f")
    failures = FailureLog("f", ListTrigger(keys=("q",)))
    entries = InProgress(1, 1_000, batch=False, settles_successes=True, metrics=metrics, failures=failures)
    entries.add([Entry("q", payload=b"x")])
    renewal = CountedRenewal()
    hung, questions = True, 0

    def is_hung() -> bool:
        nonlocal questions
        questions += 1
        return hung

    keeper = LeaseKeeper("f", entries, renewal, lease_seconds=0.03, on_error=lambda _: None, on_state=lambda *_: None)
    running = asyncio.create_task(keeper.run(is_hung))
    try:
        await eventually(lambda: questions >= 3)
        assert renewal.renewals == 0
        hung = False
        await eventually(lambda: renewal.renewals)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
