"""Measures answers, cost, activation and memory with a number of ScaledObjects, on fresh scalers."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import redis.asyncio

from benchmarks.host.quantiles import quantiles
from benchmarks.scaler.activation import idle_triggers
from benchmarks.scaler.bare_client import bare_latencies
from benchmarks.scaler.keda import Keda, Polls, connect
from benchmarks.scaler.many_keys import watch_many_keys
from benchmarks.scaler.meter import Meter
from benchmarks.scaler.polling import Polling
from benchmarks.scaler.process import ScalerProcess, running_scaler
from benchmarks.scaler.results import Activation, Memory, RedisCost, Results
from benchmarks.scaler.scaled_objects import ScaledObject, fill, scaled_objects
from triggerfish.testing.server import Server

__all__ = ["STEPS", "Measuring"]

#: Number of triggers to activate, if time allows.
ACTIVATIONS = 200
#: Number of polls while streams are open, and how many of them are concurrent.
POLLS_MEANWHILE = 200
POLLS_MEANWHILE_IN_FLIGHT = 4
#: The share of `seconds` for which idling is measured.
IDLE_SHARE = 0.3
#: Number of changes that the bare client waits for.
BARE_SAMPLES = 100
#: The steps of measuring one number of ScaledObjects.
STEPS = ("polls", "KEDA's own scalers", "all polled at once", "activation", "activation by polling")
#: A user that may do everything but use client tracking, so that its triggers are polled.
POLLING_USER, POLLING_PASSWORD = "polling", "polling"
#: Time limit of the polls, and of activation, for one number of ScaledObjects.
LIMIT_SECONDS = 90.0


class Measuring:
    """Measures on one server and adds to `results`.

    `seconds` is the duration of one measurement, which ends earlier if it has enough samples. `begin` is called with
    the name of each step.
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
        """Measure `count` ScaledObjects; with `by_kind`, also measure lists and streams separately."""
        await self._within_limit(self._polls(count, by_kind=by_kind), f"polls of {count:,} ScaledObjects")
        for by_tracking in (True, False):
            what = f"activation of {count:,} ScaledObjects by {'tracking' if by_tracking else 'polling'}"
            await self._within_limit(self._activation(count, by_tracking=by_tracking), what)

    async def measure_many_keys(self, count: int) -> None:
        """Measure one connection that watches `count` keys, without a scaler."""
        self._results.many_keys.append(await watch_many_keys(self._server.port, count))

    async def _within_limit(self, measurement: Awaitable[None], what: str) -> None:
        """Measure, or record that the measurement took too long; the others go on."""
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                await measurement
        except TimeoutError:
            self._results.unfinished.append(f"{what}: not done within {LIMIT_SECONDS:g} s")

    async def _polls(self, count: int, *, by_kind: bool) -> None:
        """Measure how the scaler answers polls, and what that costs."""
        self._begin(STEPS[0])
        objects = scaled_objects(count, "waiting")
        async with self._fresh_scaler() as (scaler, keda):
            await fill(self._client, objects)
            at_rest = scaler.resident_bytes()
            meter = Meter(self._client, scaler)
            polls = Polling(keda, self._client, meter, self._seconds)
            await polls.warm_up(objects)
            await meter.calibrate(IDLE_SHARE * self._seconds)
            paced = await polls.through_the_scaler(objects, at_once=False)
            self._results.memory.append(Memory(count, False, at_rest, scaler.resident_bytes()))
            self._begin(STEPS[1])
            keda_cost = await polls.by_keda_scalers(objects)
            self._results.answering.append(paced)
            self._results.redis.append(RedisCost("all", paced, keda_cost))
            self._begin(STEPS[2])
            if count > paced.in_flight:
                at_once = await polls.through_the_scaler(objects, at_once=True)
                self._results.answering.append(at_once)
                self._results.redis.append(RedisCost("all", at_once, keda_cost))
            if by_kind:
                self._results.redis += await self._costs_by_kind(objects, polls)

    async def _costs_by_kind(self, objects: Sequence[ScaledObject], polls: Polling) -> list[RedisCost]:
        """Measure the cost of lists and of streams for Redis."""
        costs = []
        for reads, is_list in (("lists", True), ("streams", False)):
            selected = [one for one in objects if one.is_list == is_list]
            ours = await polls.through_the_scaler(selected, at_once=False)
            costs.append(RedisCost(reads, ours, await polls.by_keda_scalers(selected)))
        return costs

    async def _activation(self, count: int, *, by_tracking: bool) -> None:
        """Measure activation latency, and the cost of watching idle triggers."""
        self._begin(STEPS[3 if by_tracking else 4])
        bare = await bare_latencies(
            self._server.port, self._client, [one.key for one in scaled_objects(count, "bare")], BARE_SAMPLES
        )
        async with (
            self._fresh_scaler(by_tracking=by_tracking) as (scaler, keda),
            idle_triggers(self._client, keda) as triggers,
        ):
            at_rest = scaler.resident_bytes()
            await triggers.open(scaled_objects(count, "idle"))
            if by_tracking:
                self._results.memory.append(Memory(count, True, at_rest, scaler.resident_bytes()))
            meter = Meter(self._client, scaler)
            idling = await meter.calibrate(IDLE_SHARE * self._seconds)
            meanwhile = await self._polls_meanwhile(keda, triggers.objects)
            await triggers.wake(ACTIVATIONS, self._seconds)
            self._results.activation.append(
                Activation(
                    scaled_objects=count,
                    by_tracking=by_tracking,
                    samples=len(triggers.latencies),
                    missed=triggers.missed,
                    quantiles=quantiles(triggers.latencies) if triggers.latencies else None,
                    bare=quantiles(bare),
                    polls_meanwhile=meanwhile,
                    opening_seconds=triggers.opening_seconds,
                    idle_redis_commands_per_second=max(0.0, idling.commands) / idling.seconds,
                    idle_scaler_cpu_percent=idling.scaler_cpu / idling.seconds * 100,
                )
            )

    async def _polls_meanwhile(self, keda: Keda, objects: Sequence[ScaledObject]) -> tuple[float, float] | None:
        """Measure GetMetrics while the streams are open, because KEDA also polls these ScaledObjects."""
        polls = Polls()
        repeated = itertools.islice(itertools.cycle(objects), POLLS_MEANWHILE)
        await keda.poll(repeated, POLLS_MEANWHILE_IN_FLIGHT, polls)
        latencies = polls.latencies["GetMetrics"]
        return quantiles(latencies) if latencies else None

    @contextlib.asynccontextmanager
    async def _fresh_scaler(self, *, by_tracking: bool = True) -> AsyncIterator[tuple[ScalerProcess, Keda]]:
        """Empty the server and start a scaler that has had no calls yet."""
        await self._client.flushall()
        address = self._server.address
        if not by_tracking:
            rights = ("on", f">{POLLING_PASSWORD}", "~*", "&*", "+@all", "-client|tracking")
            await self._client.execute_command("ACL", "SETUSER", POLLING_USER, *rights)
            address += f",user={POLLING_USER},password={POLLING_PASSWORD}"
        async with running_scaler(address) as scaler, connect(scaler.address) as keda:
            yield scaler, keda
