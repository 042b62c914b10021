"""Speaks KEDA's external scaler protocol."""

import asyncio
import time
from collections.abc import AsyncIterator

from scaler.evaluation.evaluator import Evaluation, Evaluator
from scaler.keda import externalscaler_pb2 as pb
from scaler.keda import externalscaler_pb2_grpc
from scaler.keda.call_status import CallStatus, Context, UnknownMetricError
from scaler.monitoring.metrics import ScalerMetrics
from scaler.push.hub import ActivationHub
from scaler.triggers.metadata import METRIC_PREFIX, ScaledTrigger, check_names, read_metadata
from scaler.triggers.owner import Owner

__all__ = ["ExternalScaler"]

#: We publish the instances wanted, one per unit, so that the HPA runs exactly so many.
TARGET_SIZE = 1
#: Before a stop: all calls are accepted once none was for this long. Waited for at most LAST_CALLS_SECONDS.
QUIET_SECONDS = 0.2
LAST_CALLS_SECONDS = 2.0


class ExternalScaler(externalscaler_pb2_grpc.ExternalScalerServicer):
    """Answers KEDA. Every answer comes within the samplers' bound; what is not known is an error, never 0."""

    def __init__(
        self, evaluator: Evaluator, hub: ActivationHub, metrics: ScalerMetrics, ignored_metadata: list[str]
    ) -> None:
        self._evaluator = evaluator
        self._hub = hub
        self._metrics = metrics
        self._ignored = ignored_metadata
        self._stopping = asyncio.Event()
        self._calls = 0

    async def accept_last_calls(self) -> None:
        """Wait until every call that has arrived is accepted: gRPC cancels those that still wait when it stops."""
        until = time.monotonic() + LAST_CALLS_SECONDS
        known = -1
        while known < self._calls and time.monotonic() < until:
            known = self._calls
            await asyncio.sleep(QUIET_SECONDS)

    def stop(self) -> None:
        """End the open streams with OK: KEDA doubles its wait to reconnect after any other status."""
        self._stopping.set()
        self._hub.stop()

    async def GetMetricSpec(  # noqa: N802  (the protocol's name)
        self, request: pb.ScaledObjectRef, context: Context
    ) -> pb.GetMetricSpecResponse:
        """The metric's name and target, from the metadata alone: KEDA's fallback needs it while Redis is down."""
        async with self._status("GetMetricSpec", context):
            return self._spec(request)

    async def GetMetrics(  # noqa: N802
        self, request: pb.GetMetricsRequest, context: Context
    ) -> pb.GetMetricsResponse:
        """The instances that the trigger wants."""
        async with self._status("GetMetrics", context):
            if not request.metricName.lower().startswith(METRIC_PREFIX):
                raise UnknownMetricError(
                    f"metricName: {request.metricName[:100]!r} is none of ours. Ask for what GetMetricSpec names."
                )
            target = (await self._evaluation(request.scaledObjectRef)).target
            value = pb.MetricValue(metricName=request.metricName, metricValue=target, metricValueFloat=float(target))
            return pb.GetMetricsResponse(metricValues=[value])

    async def IsActive(self, request: pb.ScaledObjectRef, context: Context) -> pb.IsActiveResponse:  # noqa: N802
        """Whether the trigger wants anything to run."""
        async with self._status("IsActive", context):
            return pb.IsActiveResponse(result=(await self._evaluation(request)).active)

    async def StreamIsActive(  # noqa: N802
        self, request: pb.ScaledObjectRef, context: Context
    ) -> AsyncIterator[pb.IsActiveResponse]:
        """Says `true` whenever the trigger becomes active, until the stream or the scaler ends."""
        async with self._status("StreamIsActive", context):
            scaled = self._read(request)
            # A connection that is missing may come; a string that is refused now is refused for good.
            if scaled.trigger.connection_string is not None:
                self._evaluator.resolve_connection(_owner(request), scaled)
        await context.send_initial_metadata(())
        with self._metrics.open_streams.labels("StreamIsActive").track_inprogress():
            async for _ in self._hub.activations(_owner(request), scaled):
                yield pb.IsActiveResponse(result=True)

    async def StreamMetricSpec(  # noqa: N802
        self, request: pb.ScaledObjectRef, context: Context
    ) -> AsyncIterator[pb.GetMetricSpecResponse]:
        """Says the spec once, as it never changes, and stays open (KEDA 2.21)."""
        async with self._status("StreamMetricSpec", context):
            spec = self._spec(request)
        with self._metrics.open_streams.labels("StreamMetricSpec").track_inprogress():
            yield spec
            await self._stopping.wait()

    def _status(self, method: str, context: Context) -> CallStatus:
        self._calls += 1
        return CallStatus(method, context, self._metrics.requests)

    def _spec(self, request: pb.ScaledObjectRef) -> pb.GetMetricSpecResponse:
        name = read_metadata(request.scalerMetadata, self._ignored).metric_name
        spec = pb.MetricSpec(metricName=name, targetSize=TARGET_SIZE, targetSizeFloat=float(TARGET_SIZE))
        return pb.GetMetricSpecResponse(metricSpecs=[spec])

    def _read(self, request: pb.ScaledObjectRef) -> ScaledTrigger:
        """The trigger of a request that will be measured."""
        check_names(request.namespace, request.name)
        return read_metadata(request.scalerMetadata, self._ignored)

    async def _evaluation(self, request: pb.ScaledObjectRef) -> Evaluation:
        return await self._evaluator.evaluate(_owner(request), self._read(request))


def _owner(request: pb.ScaledObjectRef) -> Owner:
    return Owner(request.namespace, request.name)
