"""Polls ScaledObjects through the scaler and as KEDA's own scalers do, and meters the cost of both."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import redis.asyncio

from benchmarks.host.quantiles import quantiles
from benchmarks.scaler.keda import IN_FLIGHT, Keda, Polls
from benchmarks.scaler.meter import Meter, Spent
from benchmarks.scaler.peers import poll_as_keda_does
from benchmarks.scaler.results import Answering, PerEvaluation
from benchmarks.scaler.scaled_objects import ScaledObject
from scaler.measuring.sampler import FRESH_SECONDS

__all__ = ["Polling"]

#: Total number of polls, if time allows. Every ScaledObject is polled at least once.
POLLS = 1_000
#: Pause before the same ScaledObjects are polled again: their cached samples must be stale by then.
PAUSE_SECONDS = FRESH_SECONDS + 0.1
#: With fewer polls, their CPU time is lost in what the server uses anyway.
MIN_POLLS_FOR_CPU = 500


class Polling:
    """Polls in both ways, each repeatedly for `seconds` or until there were POLLS polls."""

    def __init__(self, keda: Keda, client: redis.asyncio.Redis, meter: Meter, seconds: float) -> None:
        self._keda = keda
        self._client = client
        self._meter = meter
        self._seconds = seconds

    async def warm_up(self, objects: Sequence[ScaledObject]) -> None:
        """Let all clients connect to Redis before costs are metered."""
        await self._keda.poll(objects[:1], 1, Polls())
        await poll_as_keda_does(self._client, list(objects[:1]) * IN_FLIGHT, IN_FLIGHT)

    async def through_the_scaler(self, objects: Sequence[ScaledObject], *, at_once: bool) -> Answering:
        """Poll as KEDA polls an external scaler, IN_FLIGHT concurrently or all at once."""
        polls = Polls()
        in_flight = len(objects) if at_once else min(IN_FLIGHT, len(objects))

        async def poll() -> int:
            await self._keda.poll(objects, in_flight, polls)
            return polls.polls

        started = await self._meter.now()
        await self._repeat(poll, PAUSE_SECONDS)
        spent = await self._meter.beyond_idling(started)
        return Answering(
            scaled_objects=len(objects),
            at_once=at_once,
            in_flight=in_flight,
            polls=polls.polls,
            failures=dict(polls.failures),
            calls_per_second=polls.calls_per_second,
            quantiles={call: quantiles(latencies) for call, latencies in polls.latencies.items() if latencies},
            scaler_cpu_per_poll=spent.scaler_cpu / max(1, polls.answered) * 1000,
            redis=_per_evaluation(spent, polls.answered),
        )

    async def by_keda_scalers(self, objects: Sequence[ScaledObject]) -> PerEvaluation:
        """Poll as KEDA's own scalers do, and return what Redis spends."""
        polled = 0

        async def poll() -> int:
            nonlocal polled
            await poll_as_keda_does(self._client, objects, IN_FLIGHT)
            polled += len(objects)
            return polled

        started = await self._meter.now()
        await self._repeat(poll, 0.0)
        return _per_evaluation(await self._meter.beyond_idling(started), polled)

    async def _repeat(self, poll: Callable[[], Awaitable[int]], pause_seconds: float) -> None:
        deadline = time.monotonic() + self._seconds
        while True:
            await asyncio.sleep(pause_seconds)
            if await poll() >= POLLS or time.monotonic() > deadline:
                return


def _per_evaluation(spent: Spent, answered: int) -> PerEvaluation:
    polls = max(1, answered)
    cpu = spent.redis_cpu / polls * 1e6 if polls >= MIN_POLLS_FOR_CPU else None
    return PerEvaluation(commands=spent.commands / polls, bytes=spent.bytes / polls, cpu_microseconds=cpu)
