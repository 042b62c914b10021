"""Measures triggers without a sampler."""

import asyncio
from collections.abc import Iterable

from listeners.errors import SourceError
from listeners.redis.client import Client
from listeners.redis.server_info import ServerInfo
from scaler.measuring.backlog import Backlog
from scaler.measuring.measure import measure
from scaler.measuring.queues.extras import QueueExtras
from scaler.measuring.slow_lane import SlowLane
from scaler.triggers.measured_trigger import MeasuredTrigger

__all__ = ["measure_now", "new_slow_lane"]


def new_slow_lane(client: Client) -> SlowLane:
    """Return a slow lane that knows no stream."""
    return SlowLane(client, lambda seconds, error: None)


async def measure_now(
    client: Client,
    triggers: Iterable[MeasuredTrigger],
    *,
    slow_lane: SlowLane | None = None,
    server: ServerInfo | None = None,
) -> dict[MeasuredTrigger, Backlog | SourceError]:
    """Measure triggers in both lanes, and return the results of all."""
    lane = slow_lane or new_slow_lane(client)
    measurements = await measure(client, server or await client.server(), triggers, lane, QueueExtras(client, 0, list))
    await asyncio.gather(*(request for measurement in measurements.values() for request in measurement.unfinished))
    if lane is not slow_lane:
        await lane.close()
    results = {measured: measurement.result() for measured, measurement in measurements.items()}
    return {measured: result if isinstance(result, SourceError) else result[0] for measured, result in results.items()}
