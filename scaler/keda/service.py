"""Implements KEDA's external scaler protocol."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from listeners.errors import ConfigurationError
from scaler.evaluation.evaluator import Evaluation, Evaluator
from scaler.keda import externalscaler_pb2 as pb
from scaler.keda import externalscaler_pb2_grpc
from scaler.keda.call_report import DOUBT_KEY, PROBE_KEY
from scaler.keda.call_status import CallStatus, Context, UnknownMetricError
from scaler.keda.open_streams import OpenStreams
from scaler.monitoring.metrics import ScalerMetrics
from scaler.push.hub import ActivationHub
from scaler.triggers.metadata import METRIC_PREFIX, ScaledTrigger, check_names, invalid_metric_name, read_metadata
from scaler.triggers.owner import Owner

__all__ = ["ExternalScaler"]

#: The metric is the number of instances wanted, so a target of 1 makes the HPA run exactly that many.
TARGET_SIZE = 1
#: Before stopping, wait until no call has arrived for this long, but for at most LAST_CALLS_SECONDS.
QUIET_SECONDS = 0.2
LAST_CALLS_SECONDS = 2.0


class ExternalScaler(externalscaler_pb2_grpc.ExternalScalerServicer):
    """Answers KEDA's calls, each within the samplers' bound. An unknown backlog is an error, never 0.

    Mistakes in metadata are errors of GetMetrics and IsActive only, because KEDA shows those as events of the
    ScaledObject. After an error of GetMetricSpec it reports a scaler without metrics, and after an error of a stream it
    doubles its delay before reconnecting.
    """

    def __init__(
        self, evaluator: Evaluator, hub: ActivationHub, metrics: ScalerMetrics, ignored_metadata: list[str]
    ) -> None:
        self._evaluator = evaluator
        self._hub = hub
        self._metrics = metrics
        self._ignored = ignored_metadata
        self._streams = OpenStreams()
        self._stopping = asyncio.Event()
        self._calls = 0

    async def accept_last_calls(self) -> None:
        """Wait until every call that has arrived is accepted: gRPC cancels those still waiting when it stops."""
        deadline = time.monotonic() + LAST_CALLS_SECONDS
        accepted = -1
        while accepted < self._calls and time.monotonic() < deadline:
            accepted = self._calls
            await asyncio.sleep(QUIET_SECONDS)

    def stop(self) -> None:
        """End the open streams with OK: after any other status, KEDA doubles its delay before reconnecting."""
        self._stopping.set()
        self._hub.stop()

    async def GetMetricSpec(  # noqa: N802  (the protocol's name)
        self, request: pb.ScaledObjectRef, context: Context
    ) -> pb.GetMetricSpecResponse:
        """Return the metric's name and target, from metadata alone: KEDA's fallback needs them while Redis is down.

        Invalid metadata has a metric too, so that KEDA calls GetMetrics and shows the error.
        """
        async with self._status("GetMetricSpec", context):
            return self._spec(request)

    async def GetMetrics(  # noqa: N802
        self, request: pb.GetMetricsRequest, context: Context
    ) -> pb.GetMetricsResponse:
        """Return the number of instances that the trigger needs."""
        async with self._status("GetMetrics", context):
            if not request.metricName.lower().startswith(METRIC_PREFIX):
                raise UnknownMetricError(
                    f"unknown metricName {request.metricName[:100]!r}: Use the name that GetMetricSpec returns."
                )
            target = (await self._evaluation(request.scaledObjectRef)).target
            value = pb.MetricValue(metricName=request.metricName, metricValue=target, metricValueFloat=float(target))
            return pb.GetMetricsResponse(metricValues=[value])

    async def IsActive(self, request: pb.ScaledObjectRef, context: Context) -> pb.IsActiveResponse:  # noqa: N802
        """Return whether the trigger is active."""
        async with self._status("IsActive", context):
            active = (await self._evaluation(request)).active
            if any(key == PROBE_KEY for key, _ in context.invocation_metadata() or ()):
                doubt = await self._evaluator.doubt(_owner(request), self._read(request))
                context.set_trailing_metadata(((DOUBT_KEY, doubt.encode()),) if doubt is not None else ())
            return pb.IsActiveResponse(result=active)

    async def StreamIsActive(  # noqa: N802
        self, request: pb.ScaledObjectRef, context: Context
    ) -> AsyncIterator[pb.IsActiveResponse]:
        """Send `true` whenever the trigger becomes active, until the stream or the scaler ends.

        With invalid metadata, or a connection string that is refused, the stream stays open and is silent.
        """
        with contextlib.ExitStack() as stream:
            async with self._status("StreamIsActive", context):
                scaled = self._pushable(request)
                stream.enter_context(self._streams.opened(request))
            stream.enter_context(self._metrics.open_streams.labels("StreamIsActive").track_inprogress())
            await context.send_initial_metadata(())
            if scaled is None:
                await self._stopping.wait()
                return
            async for _ in self._hub.activations(_owner(request), scaled):
                yield pb.IsActiveResponse(result=True)

    async def StreamMetricSpec(  # noqa: N802
        self, request: pb.ScaledObjectRef, context: Context
    ) -> AsyncIterator[pb.GetMetricSpecResponse]:
        """Send the spec once, since it never changes, and keep the stream open (KEDA 2.21)."""
        with contextlib.ExitStack() as stream:
            async with self._status("StreamMetricSpec", context):
                spec = self._spec(request)
                stream.enter_context(self._streams.opened(request))
            stream.enter_context(self._metrics.open_streams.labels("StreamMetricSpec").track_inprogress())
            yield spec
            await self._stopping.wait()

    def _status(self, method: str, context: Context) -> CallStatus:
        self._calls += 1
        return CallStatus(method, context, self._metrics.requests)

    def _spec(self, request: pb.ScaledObjectRef) -> pb.GetMetricSpecResponse:
        try:
            name = read_metadata(request.scalerMetadata, self._ignored).metric_name
        except ConfigurationError:
            name = invalid_metric_name(request.scalerMetadata)
        spec = pb.MetricSpec(metricName=name, targetSize=TARGET_SIZE, targetSizeFloat=float(TARGET_SIZE))
        return pb.GetMetricSpecResponse(metricSpecs=[spec])

    def _read(self, request: pb.ScaledObjectRef) -> ScaledTrigger:
        """Parse and validate a request for a trigger that is to be measured."""
        check_names(request.namespace, request.name)
        return read_metadata(request.scalerMetadata, self._ignored)

    def _pushable(self, request: pb.ScaledObjectRef) -> ScaledTrigger | None:
        """Return the trigger, or None for a mistake that only another request can repair."""
        try:
            scaled = self._read(request)
            # A missing connection may be added later, but a refused connection string stays refused.
            if scaled.trigger.connection_string is not None:
                self._evaluator.resolve_connection(_owner(request), scaled)
        except ConfigurationError:
            return None
        return scaled

    async def _evaluation(self, request: pb.ScaledObjectRef) -> Evaluation:
        return await self._evaluator.evaluate(_owner(request), self._read(request))


def _owner(request: pb.ScaledObjectRef) -> Owner:
    return Owner(request.namespace, request.name)
