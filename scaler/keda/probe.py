"""Makes KEDA's calls to a running scaler, and reports what KEDA would see."""

import asyncio
import math
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from listeners.errors import ConfigurationError
from scaler.keda import externalscaler_pb2 as pb
from scaler.keda import externalscaler_pb2_grpc
from scaler.keda.autoscalers import Autoscalers
from scaler.keda.call_report import DOUBT_KEY, PROBE_KEY, CallReport, UnusableError, timed
from scaler.triggers.scaled_objects import RequestedTrigger

__all__ = ["ClientTls", "client_tls", "probe"]

#: KEDA sets no deadline, and the scaler answers within 2 s. A call that takes longer than this has failed.
CALL_SECONDS = 5.0
#: How long to wait for a message on StreamIsActive.
LISTEN_SECONDS = 1.0
SERVICE = "externalscaler.ExternalScaler"
#: Statuses that mean the scaler cannot be reached: GetMetricSpec, the first call, never waits for Redis.
UNREACHABLE = (grpc.StatusCode.UNAVAILABLE.name, grpc.StatusCode.DEADLINE_EXCEEDED.name)


@dataclass(frozen=True)
class ClientTls:
    """The contents of PEM files. Without `ca`, public authorities are trusted."""

    ca: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = None


def client_tls(ca_file: Path | None, certificate_file: Path | None, key_file: Path | None) -> ClientTls | None:
    """Return TLS credentials from these files, or None if there are none. Raises ConfigurationError with the option."""
    if (certificate_file is None) != (key_file is None):
        missing = "--certificate-file" if certificate_file is None else "--key-file"
        raise ConfigurationError(missing, None, "A client certificate needs both --certificate-file and --key-file.")
    if ca_file is None and certificate_file is None:
        return None
    return ClientTls(
        _pem("--ca-file", ca_file), _pem("--certificate-file", certificate_file), _pem("--key-file", key_file)
    )


async def probe(
    address: str, requested: RequestedTrigger, tls: ClientTls | None, autoscalers: Autoscalers | None = None
) -> list[CallReport]:
    """Make the calls of one poll of KEDA, then open its streams briefly, check the health, and with `autoscalers` the
    HPA.

    The calls take at most 30 s. If the scaler cannot be reached, those after the first are skipped.
    """
    async with _channel(address, requested, tls) as channel:
        calls = _Calls(channel, requested)
        reports = [await timed("GetMetricSpec", calls.spec)]
        if reports[0].status in UNREACHABLE:
            return reports
        if calls.metric_name:
            reports.append(await timed("GetMetrics", calls.metrics))
        else:
            reports.append(CallReport("GetMetrics", None, "-", "skipped: GetMetricSpec returned no metric name"))
        for name, call in (
            ("IsActive", calls.is_active),
            ("StreamIsActive", calls.stream_is_active),
            ("StreamMetricSpec", calls.stream_spec),
            ("Health", calls.health),
        ):
            reports.append(await timed(name, call))
        if autoscalers is not None:
            reports.append(await _autoscaler_report(autoscalers, requested, calls.metric_name))
        return reports


async def _autoscaler_report(autoscalers: Autoscalers, requested: RequestedTrigger, metric_name: str) -> CallReport:
    if requested.hpa is None:
        return CallReport("HPA", None, "-", "skipped: KEDA makes none for a ScaledJob, or while paused")
    return await timed("HPA", partial(autoscalers.check, requested.namespace, requested.hpa, metric_name))


class _Calls:
    """KEDA's calls for one trigger. Each returns a description of what KEDA makes of the answer."""

    def __init__(self, channel: "grpc.aio.Channel", requested: RequestedTrigger) -> None:
        self._stub = externalscaler_pb2_grpc.ExternalScalerStub(channel)
        self._health: Any = health_pb2_grpc.HealthStub(channel)
        self._reference = pb.ScaledObjectRef(
            name=requested.name, namespace=requested.namespace, scalerMetadata=requested.metadata
        )
        self._spec: pb.MetricSpec | None = None

    @property
    def metric_name(self) -> str:
        """The name that GetMetricSpec returned, or an empty string."""
        return self._spec.metricName if self._spec else ""

    async def spec(self) -> str:
        answer = await self._stub.GetMetricSpec(self._reference, timeout=CALL_SECONDS)
        self._spec = _only(answer.metricSpecs, "metric spec")
        return f"{self._spec.metricName}, target size {_number(self._spec.targetSizeFloat, self._spec.targetSize):g}"

    async def metrics(self) -> str:
        request = pb.GetMetricsRequest(scaledObjectRef=self._reference, metricName=self.metric_name)
        answer = await self._stub.GetMetrics(request, timeout=CALL_SECONDS)
        value = _only(answer.metricValues, "metric value")
        number = _number(value.metricValueFloat, value.metricValue)
        target = _number(self._spec.targetSizeFloat, self._spec.targetSize) if self._spec else 0
        instances = math.ceil(number / target) if target else 0
        return f"value {number:g}, so {instances} instance{'' if instances == 1 else 's'}"

    async def is_active(self) -> str:
        call = self._stub.IsActive(self._reference, timeout=CALL_SECONDS, metadata=((PROBE_KEY, "1"),))
        answer = await call
        doubts = [value.decode(errors="replace") for key, value in await call.trailing_metadata() if key == DOUBT_KEY]
        return "; ".join(["active" if answer.result else "not active", *doubts])

    async def stream_is_active(self) -> str:
        stream = self._stub.StreamIsActive(self._reference, timeout=CALL_SECONDS)
        began = time.monotonic()
        try:
            async with asyncio.timeout(LISTEN_SECONDS):
                message = await stream.read()
        except TimeoutError:
            return f"open, no message within {LISTEN_SECONDS:g} s"
        finally:
            stream.cancel()
        if message is grpc.aio.EOF:
            raise UnusableError("the scaler ended the stream. Is it stopping?")
        return f"{'active' if message.result else 'not active'}, after {(time.monotonic() - began) * 1000:.0f} ms"

    async def stream_spec(self) -> str:
        stream = self._stub.StreamMetricSpec(self._reference, timeout=CALL_SECONDS)
        try:
            message = await stream.read()
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.UNIMPLEMENTED:
                return "not implemented, so KEDA calls only GetMetricSpec"
            raise
        finally:
            stream.cancel()
        if message is grpc.aio.EOF:
            raise UnusableError("the scaler ended the stream. Is it stopping?")
        if _only(message.metricSpecs, "metric spec") != self._spec:
            raise UnusableError("it differs from the spec that GetMetricSpec returned")
        return "same as GetMetricSpec"

    async def health(self) -> str:
        answer = await self._health.Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=CALL_SECONDS)
        status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise UnusableError(f"{SERVICE} is {status}")
        return str(status)


def _channel(address: str, requested: RequestedTrigger, tls: ClientTls | None) -> "grpc.aio.Channel":
    if tls is None and requested.metadata.get("enableTLS") == "true":
        tls = ClientTls()
    if tls is None:
        return grpc.aio.insecure_channel(address)
    # KEDA checks the certificate against scalerAddress, while `address` may be a forwarded port.
    expected = requested.metadata.get("scalerAddress", "").rpartition(":")[0]
    options = [("grpc.ssl_target_name_override", expected)] if expected else []
    credentials = grpc.ssl_channel_credentials(tls.ca, tls.key, tls.certificate)
    return grpc.aio.secure_channel(address, credentials, options=options)


def _only(items: Any, what: str) -> Any:
    """Return the only item: KEDA would add up several, and cannot scale by none."""
    if len(items) != 1:
        raise UnusableError(f"{len(items)} {what}s, but KEDA needs exactly one")
    return items[0]


def _number(float_value: float, int_value: int) -> float:
    """Return the number that KEDA uses: the float if it is above 0, otherwise the integer."""
    return float_value if float_value > 0 else int_value


def _pem(field: str, file: Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(field, str(file), f"It cannot be read: {error.strerror}.") from None
