"""Asks a scaler as KEDA does."""

import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Mapping

# As in scaler.server, because processes are started by fork and exec.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc

from benchmarks.queues.processes import Failed
from benchmarks.queues.samples import Answer
from scaler.keda import externalscaler_pb2 as pb
from scaler.keda import externalscaler_pb2_grpc

__all__ = ["asking"]

#: The scaler shares a sample for 50 ms among requests for equal triggers. These differ in their maxInstances, and are
#: asked for in turn, so that no answer is older than its question by more than Redis's reports of changes take.
TRIGGERS = 16
MAX_INSTANCES = 100_000
METRIC = "triggerfish-jobs"
CALL_SECONDS = 20.0
#: A mistake in the metadata. Other errors pass: the scaler reports what it does not know as an error, never as 0.
MISTAKE = grpc.StatusCode.INVALID_ARGUMENT


@contextlib.asynccontextmanager
async def asking(address: str, metadata: Mapping[str, str]) -> AsyncIterator[Answer]:
    """Connect to the scaler at this address, and yield a function that asks for the number of jobs in a queue."""
    turns = itertools.cycle(range(TRIGGERS))
    async with grpc.aio.insecure_channel(address) as channel:
        stub = externalscaler_pb2_grpc.ExternalScalerStub(channel)

        async def ask() -> int | None:
            instances = str(MAX_INSTANCES + next(turns))
            trigger = {"messagesPerWorker": "1", "maxInstances": instances, "function": "job", **metadata}
            reference = pb.ScaledObjectRef(name="jobs", namespace="queues", scalerMetadata=trigger)
            try:
                request = pb.GetMetricsRequest(scaledObjectRef=reference, metricName=METRIC)
                answer = await stub.GetMetrics(request, timeout=CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() == MISTAKE:
                    raise Failed(f"the scaler refuses the trigger: {error.details()}") from error
                return None
            return int(answer.metricValues[0].metricValue)

        yield ask
