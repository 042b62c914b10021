"""Asks a scaler as KEDA does: a poll of a ScaledObject is GetMetricSpec, then GetMetrics, then IsActive."""

import asyncio
import contextlib
import itertools
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

# As in scaler.server: processes are started by fork and exec.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc

from benchmarks.scaler.scaled_objects import ScaledObject
from scaler.keda import externalscaler_pb2 as pb
from scaler.keda import externalscaler_pb2_grpc

__all__ = ["CALLS", "CALL_SECONDS", "IN_FLIGHT", "Keda", "Polls", "keda_of"]

CALLS = ("GetMetricSpec", "GetMetrics", "IsActive")
#: HTTP/2 connections, and polls under way at one time unless all are to be.
CONNECTIONS = 4
IN_FLIGHT = 32
#: KEDA sets no deadline; nothing here may hang.
CALL_SECONDS = 60.0


@dataclass
class Polls:
    """How polls went: for each call its latencies in ms, and failed polls by status; `seconds` without the pauses."""

    latencies: dict[str, list[float]] = field(default_factory=lambda: {call: [] for call in CALLS})
    polls: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def answered(self) -> int:
        """Polls that did not fail."""
        return self.polls - self.failures.total()

    @property
    def calls_per_second(self) -> float:
        """Calls that were answered, of all kinds."""
        return sum(map(len, self.latencies.values())) / self.seconds


class Keda:
    """KEDA's side of a few connections to one scaler."""

    def __init__(self, channels: Sequence["grpc.aio.Channel"]) -> None:
        self._stubs = itertools.cycle([externalscaler_pb2_grpc.ExternalScalerStub(channel) for channel in channels])

    async def poll(self, objects: Iterable[ScaledObject], in_flight: int, polls: Polls) -> None:
        """Poll each of them once, so many at a time, and add to `polls`."""
        left = iter(objects)
        began = time.monotonic()
        await asyncio.gather(*(self._poll_some(left, polls) for _ in range(in_flight)))
        polls.seconds += time.monotonic() - began

    def open_stream(self, one: ScaledObject) -> Any:
        """StreamIsActive: a call with read() and cancel(), open once its initial_metadata() have come."""
        return next(self._stubs).StreamIsActive(one.reference())

    async def _poll_some(self, left: Iterable[ScaledObject], polls: Polls) -> None:
        for one in left:
            polls.polls += 1
            try:
                await self._poll(next(self._stubs), one.reference(), polls)
            except grpc.aio.AioRpcError as error:
                polls.failures[error.code().name] += 1

    async def _poll(self, stub: Any, reference: pb.ScaledObjectRef, polls: Polls) -> None:
        spec = await _timed(stub.GetMetricSpec, reference, polls.latencies["GetMetricSpec"])
        request = pb.GetMetricsRequest(scaledObjectRef=reference, metricName=spec.metricSpecs[0].metricName)
        await _timed(stub.GetMetrics, request, polls.latencies["GetMetrics"])
        await _timed(stub.IsActive, reference, polls.latencies["IsActive"])


@contextlib.asynccontextmanager
async def keda_of(address: str) -> AsyncIterator[Keda]:
    """Connected to the scaler at this address."""
    # Without a pool of its own each channel would share one connection.
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with contextlib.AsyncExitStack() as stack:
        channels = [grpc.aio.insecure_channel(address, options=options) for _ in range(CONNECTIONS)]
        for channel in channels:
            await stack.enter_async_context(channel)
        async with asyncio.timeout(CALL_SECONDS):
            await asyncio.gather(*(channel.channel_ready() for channel in channels))
        yield Keda(channels)


async def _timed(call: Any, request: Any, latencies: list[float]) -> Any:
    began = time.monotonic()
    answer = await call(request, timeout=CALL_SECONDS)
    latencies.append((time.monotonic() - began) * 1000)
    return answer
