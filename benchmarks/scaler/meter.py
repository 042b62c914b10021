"""Meters what Redis and the scaler spend: commands, bytes and CPU time."""

import asyncio
import time
from dataclasses import astuple, dataclass

import redis.asyncio

from benchmarks.scaler.process import ScalerProcess

__all__ = ["Meter", "Spent"]


@dataclass
class Spent:
    """What was spent in `seconds`: the server's commands, bytes (in and out) and CPU seconds, and the scaler's CPU."""

    seconds: float = 0.0
    commands: float = 0.0
    bytes: float = 0.0
    redis_cpu: float = 0.0
    scaler_cpu: float = 0.0

    def minus(self, other: "Spent", times: float = 1.0) -> "Spent":
        """Return this minus `times` times the other."""
        return Spent(*(a - times * b for a, b in zip(astuple(self), astuple(other), strict=True)))


class Meter:
    """Reads the counters of one server and one scaler, and subtracts the cost of reading them."""

    def __init__(self, client: redis.asyncio.Redis, scaler: ScalerProcess) -> None:
        self._client = client
        self._scaler = scaler
        self._counting = Spent()
        self._idle = Spent()

    async def calibrate(self, seconds: float) -> Spent:
        """Measure the cost of reading the counters, and what is spent in `seconds` without calls; return the latter."""
        self._counting = await self.since(await self.now())
        self._counting.seconds = 0.0
        started = await self.now()
        await asyncio.sleep(seconds)
        self._idle = await self.since(started)
        return self._idle

    async def since(self, started: Spent) -> Spent:
        """Return what was spent since the counters were `started`, idling included."""
        return (await self.now()).minus(started).minus(self._counting)

    async def beyond_idling(self, started: Spent) -> Spent:
        """Return what was spent since the counters were `started`, without idling, and at least 0."""
        spent = await self.since(started)
        net = spent.minus(self._idle, spent.seconds / self._idle.seconds)
        return Spent(spent.seconds, *(max(0.0, figure) for figure in astuple(net)[1:]))

    async def now(self) -> Spent:
        """Read the counters."""
        info = await self._client.info("commandstats", "stats", "cpu")
        return Spent(
            seconds=time.monotonic(),
            commands=sum(stats["calls"] for name, stats in info.items() if name.startswith("cmdstat_")),
            bytes=info["total_net_input_bytes"] + info["total_net_output_bytes"],
            redis_cpu=info["used_cpu_user"] + info["used_cpu_sys"],
            scaler_cpu=self._scaler.cpu_seconds(),
        )
