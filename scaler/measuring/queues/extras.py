"""What is known about queues only by more than the commands of one round trip."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence

from listeners.redis.client import Client
from listeners.redis.server_info import ServerInfo
from scaler.measuring.backlog import KeyBacklog, KeySample
from scaler.measuring.queues.delayed import DelayedMessages
from scaler.measuring.queues.heartbeats import Heartbeats
from scaler.measuring.queues.unacked import UnackedScans
from scaler.measuring.slow_lane import KeyResult
from scaler.queues.celery import CeleryQueue
from scaler.queues.libraries import DramatiqQueue
from scaler.triggers.measured_trigger import MeasuredTrigger

__all__ = ["QueueExtras"]


class QueueExtras:
    """Completes what one round trip has measured. `on_change`: see Heartbeats."""

    def __init__(self, client: Client, database: int, on_change: Callable[[Iterable[MeasuredTrigger]], object]) -> None:
        self._scans = UnackedScans(client)
        self._delayed = DelayedMessages(client)
        self._heartbeats = Heartbeats(client, database, on_change)

    def complete(
        self, measured: MeasuredTrigger, backlogs: Sequence[KeyBacklog], taken_at: float, server: ServerInfo
    ) -> "Iterator[KeyResult | asyncio.Future[KeyResult]]":
        """Yield the results of a trigger, some of which may be known later."""
        trigger = measured.trigger
        for backlog in backlogs:
            if isinstance(trigger, CeleryQueue) and trigger.searches_unacked and backlog.in_flight:
                yield self._scans.measure(trigger, backlog.in_flight, server)
            elif isinstance(trigger, DramatiqQueue) and backlog.jobs is not None and backlog.jobs.scheduled:
                yield self._delayed.measure(trigger, backlog, taken_at, server)
            else:
                yield KeySample(backlog, taken_at)
        if isinstance(trigger, CeleryQueue) and not trigger.acks_late:
            holds_messages = any(backlog.in_flight for backlog in backlogs)
            yield self._heartbeats.measure(measured, trigger, holds_messages=holds_messages)

    async def close(self) -> None:
        """Stop all work."""
        await asyncio.gather(self._scans.close(), self._heartbeats.close())
