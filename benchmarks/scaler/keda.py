"""A client that polls a scaler as KEDA does: GetMetricSpec, then GetMetrics, then IsActive for each ScaledObject."""

import asyncio
import contextlib
import itertools
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

# As in scaler.server, because processes are started by fork and exec.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc

from benchmarks.scaler.scaled_objects import ScaledObject
from scaler.keda import externalscaler_pb2 as pb
from scaler.keda import externalscaler_pb2_grpc

__all__ = ["CALLS", "CALL_SECONDS", "IN_FLIGHT", "Keda", "Polls", "connect"]

CALLS = ("GetMetricSpec", "GetMetrics", "IsActive")
#: Number of HTTP/2 connections.
CONNECTIONS = 4
#: Number of concurrent polls, unless all ScaledObjects are polled at once.
IN_FLIGHT = 32
#: KEDA sets no deadline, but the benchmark must not hang.
CALL_SECONDS = 60.0


@dataclass
class Polls:
    """The results of polls: latencies in ms by call, failed polls by status, and `seconds` without pauses."""

    latencies: dict[str, list[float]] = field(default_factory=lambda: {call: [] for call in CALLS})
    polls: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def answered(self) -> int:
        """The number of polls that did not fail."""
        return self.polls - self.failures.total()

    @property
    def calls_per_second(self) -> float:
        """Answered calls of all kinds per second."""
        return sum(map(len, self.latencies.values())) / self.seconds


class Keda:
    """KEDA's side of a few connections to one scaler."""

    def __init__(self, channels: Sequence["grpc.aio.Channel"]) -> None:
        self._stubs = itertools.cycle([externalscaler_pb2_grpc.ExternalScalerStub(channel) for channel in channels])

    async def poll(self, objects: Iterable[ScaledObject], in_flight: int, polls: Polls) -> None:
        """Poll each ScaledObject once, `in_flight` concurrently, and add the results to `polls`."""
        remaining = iter(objects)
        began = time.monotonic()
        await asyncio.gather(*(self._poll_some(remaining, polls) for _ in range(in_flight)))
        polls.seconds += time.monotonic() - began

    def open_stream(self, one: ScaledObject) -> Any:
        """Start StreamIsActive: a call with read() and cancel(), open once its initial_metadata() have arrived."""
        return next(self._stubs).StreamIsActive(one.reference())

    async def _poll_some(self, remaining: Iterable[ScaledObject], polls: Polls) -> None:
        for one in remaining:
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
async def connect(address: str) -> AsyncIterator[Keda]:
    """Connect to the scaler at this address for the block."""
    # By default all channels share one connection.
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
