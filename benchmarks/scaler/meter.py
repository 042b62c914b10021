"""Counts what Redis and the scaler spend: commands, bytes, processor time."""

import asyncio
import time
from dataclasses import astuple, dataclass

import redis.asyncio

from benchmarks.scaler.process import ScalerProcess

__all__ = ["Meter", "Spent"]


@dataclass
class Spent:
    """What was spent in `seconds`: by the server commands, bytes (in and out) and CPU seconds; by the scaler CPU."""

    seconds: float = 0.0
    commands: float = 0.0
    bytes: float = 0.0
    redis_cpu: float = 0.0
    scaler_cpu: float = 0.0

    def minus(self, other: "Spent", times: float = 1.0) -> "Spent":
        """What is left without so many times another."""
        return Spent(*(mine - times * its for mine, its in zip(astuple(self), astuple(other), strict=True)))


class Meter:
    """Reads the counters of one server and one scaler. The counting itself is taken off."""

    def __init__(self, client: redis.asyncio.Redis, scaler: ScalerProcess) -> None:
        self._client = client
        self._scaler = scaler
        self._counting = Spent()
        self._idle = Spent()

    async def calibrate(self, seconds: float) -> Spent:
        """Learn what counting costs, and what both spend while nobody asks anything for so long; the latter."""
        self._counting = await self.since(await self.now())
        self._counting.seconds = 0.0
        started = await self.now()
        await asyncio.sleep(seconds)
        self._idle = await self.since(started)
        return self._idle

    async def since(self, started: Spent) -> Spent:
        """What was spent since `now()` was read, idling included."""
        return (await self.now()).minus(started).minus(self._counting)

    async def beyond_idling(self, started: Spent) -> Spent:
        """What was spent since then on top of what is spent anyway, and never less than nothing."""
        spent = await self.since(started)
        more = spent.minus(self._idle, spent.seconds / self._idle.seconds)
        return Spent(spent.seconds, *(max(0.0, figure) for figure in astuple(more)[1:]))

    async def now(self) -> Spent:
        """The counters."""
        info = await self._client.info("commandstats", "stats", "cpu")
        return Spent(
            seconds=time.monotonic(),
            commands=sum(stats["calls"] for name, stats in info.items() if name.startswith("cmdstat_")),
            bytes=info["total_net_input_bytes"] + info["total_net_output_bytes"],
            redis_cpu=info["used_cpu_user"] + info["used_cpu_sys"],
            scaler_cpu=self._scaler.cpu_seconds(),
        )
