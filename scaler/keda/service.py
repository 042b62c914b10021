"""Speaks KEDA's external scaler protocol."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import grpc

from listeners.errors import (
    ConfigurationError,
    ConnectionNotAllowedError,
    ConnectionStringError,
    SourceError,
    TriggerfishError,
    UnknownConnectionError,
    UnusableConnectionError,
)
from scaler.evaluation.evaluator import Evaluation, Evaluator
from scaler.keda import externalscaler_pb2 as pb
from scaler.keda import externalscaler_pb2_grpc
from scaler.monitoring.metrics import ScalerMetrics
from scaler.push.hub import ActivationHub
from scaler.triggers.metadata import METRIC_PREFIX, ScaledTrigger, check_names, read_metadata
from scaler.triggers.owner import Owner

__all__ = ["ExternalScaler"]

log = logging.getLogger("triggerfish.scaler")


Answer = TypeVar("Answer")


Context = grpc.aio.ServicerContext[object, object]


#: We publish the instances wanted, one per unit, so that the HPA runs exactly so many.
TARGET_SIZE = 1


MAX_DETAIL_CHARACTERS = 1000


#: Before a stop: no call waits to be taken up if none was for so long; and the longest that this is waited for.
QUIET_SECONDS = 0.2


LAST_CALLS_SECONDS = 2.0


#: The status of each of our errors; the first class that fits decides.
_CODES: tuple[tuple[type[TriggerfishError], grpc.StatusCode], ...] = (
    (ConnectionNotAllowedError, grpc.StatusCode.PERMISSION_DENIED),
    (UnknownConnectionError, grpc.StatusCode.FAILED_PRECONDITION),
    (UnusableConnectionError, grpc.StatusCode.FAILED_PRECONDITION),
    (ConnectionStringError, grpc.StatusCode.FAILED_PRECONDITION),
    (ConfigurationError, grpc.StatusCode.INVALID_ARGUMENT),
    (SourceError, grpc.StatusCode.UNAVAILABLE),
)


class UnknownMetricError(TriggerfishError):
    """A metric name that is none of ours."""


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

    async def take_up_last_calls(self) -> None:
        """Let the calls be taken up that have come: gRPC cancels those that still wait when it stops."""
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

        async def answer() -> pb.GetMetricSpecResponse:
            return self._spec(request)

        return await self._answer("GetMetricSpec", context, answer)

    async def GetMetrics(  # noqa: N802
        self, request: pb.GetMetricsRequest, context: Context
    ) -> pb.GetMetricsResponse:
        """The instances that the trigger wants."""

        async def answer() -> pb.GetMetricsResponse:
            if not request.metricName.lower().startswith(METRIC_PREFIX):
                raise UnknownMetricError(
                    f"metricName: {request.metricName[:100]!r} is none of ours. Ask for what GetMetricSpec names."
                )
            target = (await self._evaluation(request.scaledObjectRef)).target
            value = pb.MetricValue(metricName=request.metricName, metricValue=target, metricValueFloat=float(target))
            return pb.GetMetricsResponse(metricValues=[value])

        return await self._answer("GetMetrics", context, answer)

    async def IsActive(self, request: pb.ScaledObjectRef, context: Context) -> pb.IsActiveResponse:  # noqa: N802
        """Whether the trigger wants anything to run."""

        async def answer() -> pb.IsActiveResponse:
            return pb.IsActiveResponse(result=(await self._evaluation(request)).active)

        return await self._answer("IsActive", context, answer)

    async def StreamIsActive(  # noqa: N802
        self, request: pb.ScaledObjectRef, context: Context
    ) -> AsyncIterator[pb.IsActiveResponse]:
        """Says `true` whenever the trigger becomes active, until the stream or the scaler ends."""
        scaled = await self._answer("StreamIsActive", context, lambda: self._read_for_stream(request))
        await context.send_initial_metadata(())
        with self._metrics.open_streams.labels("StreamIsActive").track_inprogress():
            async for _ in self._hub.activations(_owner(request), scaled):
                yield pb.IsActiveResponse(result=True)

    async def StreamMetricSpec(  # noqa: N802
        self, request: pb.ScaledObjectRef, context: Context
    ) -> AsyncIterator[pb.GetMetricSpecResponse]:
        """Says the spec once, as it never changes, and stays open (KEDA 2.21)."""

        async def answer() -> pb.GetMetricSpecResponse:
            return self._spec(request)

        spec = await self._answer("StreamMetricSpec", context, answer)
        with self._metrics.open_streams.labels("StreamMetricSpec").track_inprogress():
            yield spec
            await self._stopping.wait()

    def _spec(self, request: pb.ScaledObjectRef) -> pb.GetMetricSpecResponse:
        name = read_metadata(request.scalerMetadata, self._ignored).metric_name
        spec = pb.MetricSpec(metricName=name, targetSize=TARGET_SIZE, targetSizeFloat=float(TARGET_SIZE))
        return pb.GetMetricSpecResponse(metricSpecs=[spec])

    def _read(self, request: pb.ScaledObjectRef) -> ScaledTrigger:
        """The trigger of a request that will be measured."""
        check_names(request.namespace, request.name)
        return read_metadata(request.scalerMetadata, self._ignored)

    async def _read_for_stream(self, request: pb.ScaledObjectRef) -> ScaledTrigger:
        """A connection that is missing may come; a string that is refused now is refused for good."""
        scaled = self._read(request)
        if scaled.trigger.connection_string is not None:
            self._evaluator.resolve_connection(_owner(request), scaled)
        return scaled

    async def _evaluation(self, request: pb.ScaledObjectRef) -> Evaluation:
        return await self._evaluator.evaluate(_owner(request), self._read(request))

    async def _answer(self, method: str, context: Context, answer: Callable[[], Awaitable[Answer]]) -> Answer:
        """Answer, or end the call with the status that our error means."""
        self._calls += 1
        code, detail = grpc.StatusCode.OK, ""
        try:
            return await answer()
        except TriggerfishError as error:
            code, detail = _code(error), str(error)[:MAX_DETAIL_CHARACTERS]
        except Exception:
            log.exception("%s failed in a way that was not foreseen", method)
            code, detail = grpc.StatusCode.INTERNAL, "The scaler failed; its log says how."
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            raise
        finally:
            self._metrics.requests.labels(method, code.name).inc()
        await context.abort(code, detail)
        raise AssertionError("abort() raises")


def _code(error: TriggerfishError) -> grpc.StatusCode:
    if isinstance(error, UnknownMetricError):
        return grpc.StatusCode.NOT_FOUND
    return next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


def _owner(request: pb.ScaledObjectRef) -> Owner:
    return Owner(request.namespace, request.name)
