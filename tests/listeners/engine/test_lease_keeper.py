"""Renewal of leases while the host hangs, and while entries move on."""

import asyncio
from collections.abc import Collection, Sequence
from typing import cast

import pytest
import redis.asyncio
from prometheus_client import CollectorRegistry

from listeners.engine.failures import FailureLog
from listeners.engine.in_progress import InProgress
from listeners.engine.lease_keeper import LeaseKeeper
from listeners.engine.metrics import FunctionMetrics, HostMetrics
from listeners.functions.entries import Entry
from listeners.functions.triggers import ListTrigger
from listeners.redis.client import Client
from listeners.streams.leases import StreamLeases
from listeners.streams.retries import Retries, Waiting
from tests.listeners.streams.sources import GROUP, KEY, add, idle_ms, lapse, opened, take
from tests.support.waiting import eventually
from triggerfish.testing.server import Server


class CountedRenewal:
    """Counts the renewals, in place of Redis."""

    def __init__(self) -> None:
        self.renewals = 0

    async def renew(self, entries: Collection[Entry]) -> None:
        """Count one."""
        self.renewals += 1

    async def close(self) -> None:
        """Do nothing."""


def nothing_in_progress() -> InProgress:
    """No entry in progress."""
    metrics = FunctionMetrics(HostMetrics(CollectorRegistry()), "app", "f")
    failures = FailureLog("f", ListTrigger(keys=("q",)))
    return InProgress(1, 1_000, settles_successes=True, metrics=metrics, failures=failures)


async def test_leases_are_not_renewed_while_the_host_hangs() -> None:
    """Leases of a host that hangs end, so that other hosts get its entries. They are renewed again when it runs."""
    entries = nothing_in_progress()
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


class MovingEntry:
    """An entry that moves on at the moment when what held it until then is read."""

    def __init__(self, entry: Entry, moves: str, in_progress: InProgress) -> None:
        self._entry = entry
        self._moves = moves
        self._in_progress = in_progress
        self._queue: list[Entry] = []

    def by_key(self) -> dict[str, list[Waiting]]:
        """Return the retries, none of which is left."""
        if self._moves == "from the retries":
            self._queue.append(self._entry)
        return {}

    def queued(self) -> Sequence[Entry]:
        """Return the queue."""
        if self._moves == "from the queue":
            self._in_progress.add([self._entry])
        return self._queue


@pytest.mark.releases("valkey-9.1")
@pytest.mark.parametrize("moves", ["from the retries", "from the queue"])
async def test_an_entry_that_moves_on_is_renewed(
    server: Server, client: redis.asyncio.Redis, ours: Client, moves: str
) -> None:
    """The first renewal includes an entry that moves from the retries to the queue, or from there to in progress."""
    async with opened(server) as source:
        await add(client, "1")
        (entry,) = await take(source)
        await lapse(client, entry.id)
        in_progress = nothing_in_progress()
        moving = MovingEntry(entry, moves, in_progress)
        renewal = StreamLeases(ours, GROUP, "a", 600_000, queued=moving.queued, retries=cast(Retries, moving))
        keeper = LeaseKeeper(
            "f", in_progress, renewal, lease_seconds=600, on_error=pytest.fail, on_state=lambda *_: None
        )
        ends_at = entry.lease_ends_at
        running = asyncio.create_task(keeper.run(lambda: False))
        try:
            await eventually(lambda: entry.lease_ends_at > ends_at, seconds=10)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert (await idle_ms(client, key=KEY))[0] < 3_000_000
