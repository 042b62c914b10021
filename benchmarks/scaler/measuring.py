"""Measures one number of ScaledObjects after another: answers, cost, activation and memory, on fresh scalers."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import redis.asyncio

from benchmarks.quantiles import quantiles
from benchmarks.scaler.activation import idle
from benchmarks.scaler.keda import Keda, Polls, keda_of
from benchmarks.scaler.meter import Meter
from benchmarks.scaler.polling import Polling
from benchmarks.scaler.process import ScalerProcess, running_scaler
from benchmarks.scaler.results import Activation, Memory, RedisCost, Results
from benchmarks.scaler.scaled_objects import ScaledObject, fill, scaled_objects
from triggerfish.testing.server import Server

__all__ = ["STEPS", "Measuring"]

#: Triggers that are woken, if the time allows.
WAKINGS = 200
#: Polls while streams are open, and how many at a time.
POLLED_MEANWHILE = 200
FEW_IN_FLIGHT = 4
#: The part of the time in which nothing happens, and is measured.
QUIET_PART = 0.3
#: `notify-keyspace-events`: none, and those of lists and streams.
NOTIFICATIONS = {False: "", True: "Klt"}
#: The steps in which one number of ScaledObjects is measured.
STEPS = ("polls", "KEDA's own scalers", "all polled at once", "activation", "activation with notifications")
#: The longest that the polls, or one kind of activation, may take with one number of ScaledObjects, whatever hangs.
LIMIT_SECONDS = 90.0


class Measuring:
    """Measures on one server, and adds to `results`.

    `seconds`: how long one measurement goes on, unless it has enough before. `begin` is called with each step's name.
    """

    def __init__(
        self,
        server: Server,
        client: redis.asyncio.Redis,
        results: Results,
        *,
        seconds: float,
        begin: Callable[[str], object],
    ) -> None:
        self._server = server
        self._client = client
        self._results = results
        self._seconds = seconds
        self._begin = begin

    async def measure(self, count: int, *, by_kind: bool) -> None:
        """Measure so many ScaledObjects; `by_kind`: lists and streams also each by themselves."""
        await self._in_time(self._polls(count, by_kind=by_kind), f"polls of {count:,} ScaledObjects")
        for on in NOTIFICATIONS:
            what = f"{STEPS[3 + on]} of {count:,} ScaledObjects"
            await self._in_time(self._activation(count, notifications=on), what)

    async def _in_time(self, measurement: Awaitable[None], what: str) -> None:
        """Measure, or take note that it took too long: the others count all the same."""
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                await measurement
        except TimeoutError:
            self._results.unfinished.append(f"{what}: not done within {LIMIT_SECONDS:g} s")

    async def _polls(self, count: int, *, by_kind: bool) -> None:
        """How the scaler answers, and what that costs."""
        self._begin(STEPS[0])
        objects = scaled_objects(count, "waiting")
        async with self._fresh_scaler() as (scaler, keda):
            await fill(self._client, objects)
            at_rest = scaler.resident_bytes()
            meter = Meter(self._client, scaler)
            polls = Polling(keda, self._client, meter, self._seconds)
            await polls.warm_up(objects)
            await meter.calibrate(QUIET_PART * self._seconds)
            paced = await polls.through_the_scaler(objects, at_once=False)
            self._results.memory.append(Memory(count, False, at_rest, scaler.resident_bytes()))
            self._begin(STEPS[1])
            alone = await polls.by_keda_alone(objects)
            self._results.answering.append(paced)
            self._results.redis.append(RedisCost("all", paced, alone))
            self._begin(STEPS[2])
            if count > paced.in_flight:
                at_once = await polls.through_the_scaler(objects, at_once=True)
                self._results.answering.append(at_once)
                self._results.redis.append(RedisCost("all", at_once, alone))
            if by_kind:
                self._results.redis += await self._costs_by_kind(objects, polls)

    async def _costs_by_kind(self, objects: Sequence[ScaledObject], polls: Polling) -> list[RedisCost]:
        """What lists cost Redis, and what streams cost."""
        costs = []
        for reads, is_list in (("lists", True), ("streams", False)):
            some = [one for one in objects if one.is_list == is_list]
            ours = await polls.through_the_scaler(some, at_once=False)
            costs.append(RedisCost(reads, ours, await polls.by_keda_alone(some)))
        return costs

    async def _activation(self, count: int, *, notifications: bool) -> None:
        """How soon triggers are said to be active, and what watching those that are not costs."""
        self._begin(STEPS[3 + notifications])
        await self._client.config_set("notify-keyspace-events", NOTIFICATIONS[notifications])
        async with self._fresh_scaler() as (scaler, keda), idle(self._client, keda) as ones:
            at_rest = scaler.resident_bytes()
            await ones.open(scaled_objects(count, "idle"))
            if not notifications:
                self._results.memory.append(Memory(count, True, at_rest, scaler.resident_bytes()))
            meter = Meter(self._client, scaler)
            quiet = await meter.calibrate(QUIET_PART * self._seconds)
            meanwhile = await self._polls_meanwhile(keda, ones.objects)
            await ones.wake(WAKINGS, self._seconds)
            self._results.activation.append(
                Activation(
                    scaled_objects=count,
                    notifications=notifications,
                    samples=len(ones.latencies),
                    missed=ones.missed,
                    quantiles=quantiles(ones.latencies) if ones.latencies else None,
                    polls_meanwhile=meanwhile,
                    opening_seconds=ones.opening_seconds,
                    idle_redis_commands_per_second=quiet.commands / quiet.seconds,
                    idle_scaler_cpu_percent=quiet.scaler_cpu / quiet.seconds * 100,
                )
            )

    async def _polls_meanwhile(self, keda: Keda, objects: Sequence[ScaledObject]) -> tuple[float, float] | None:
        """GetMetrics while the streams are open: KEDA polls the same ScaledObjects too."""
        polls = Polls()
        again = itertools.islice(itertools.cycle(objects), POLLED_MEANWHILE)
        await keda.poll(again, FEW_IN_FLIGHT, polls)
        latencies = polls.latencies["GetMetrics"]
        return quantiles(latencies) if latencies else None

    @contextlib.asynccontextmanager
    async def _fresh_scaler(self) -> AsyncIterator[tuple[ScalerProcess, Keda]]:
        """A scaler that has been asked nothing yet, and an empty server."""
        await self._client.flushall()
        async with running_scaler(self._server) as scaler, keda_of(scaler.address) as keda:
            yield scaler, keda
