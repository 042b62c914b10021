"""Plays KEDA's calls against a running scaler, and reports what KEDA would see."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from listeners.errors import ConfigurationError
from scaler.keda import externalscaler_pb2 as pb
from scaler.keda import externalscaler_pb2_grpc
from scaler.triggers.scaled_objects import RequestedTrigger

__all__ = ["CallReport", "ClientTls", "client_tls", "probe"]

#: KEDA sets no deadline; the scaler bounds itself at 2 s. A call that takes longer than this has failed.
CALL_SECONDS = 5.0
#: How long StreamIsActive is listened to.
LISTEN_SECONDS = 1.0
SERVICE = "externalscaler.ExternalScaler"
MAX_CHARACTERS = 500
#: The statuses of a scaler that cannot be reached: GetMetricSpec, which comes first, never waits for Redis.
UNREACHABLE = (grpc.StatusCode.UNAVAILABLE.name, grpc.StatusCode.DEADLINE_EXCEEDED.name)


@dataclass(frozen=True)
class CallReport:
    """How one call went: its duration (None: it was not made), its status, and what KEDA sees or what is wrong."""

    call: str
    seconds: float | None
    status: str
    seen: str

    @property
    def failed(self) -> bool:
        """Whether it was made, and KEDA cannot use the answer."""
        return self.seconds is not None and self.status != "OK"


@dataclass(frozen=True)
class ClientTls:
    """PEM files' contents; without `ca` the public authorities are trusted."""

    ca: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = None


class _UnusableError(Exception):
    """An answer that came, but that KEDA cannot use."""


def client_tls(ca_file: Path | None, certificate_file: Path | None, key_file: Path | None) -> ClientTls | None:
    """TLS with these files; None if there are none. Raises ConfigurationError that names the option."""
    if (certificate_file is None) != (key_file is None):
        missing = "--certificate-file" if certificate_file is None else "--key-file"
        raise ConfigurationError(missing, None, "A client certificate needs both --certificate-file and --key-file.")
    if ca_file is None and certificate_file is None:
        return None
    return ClientTls(
        _pem("--ca-file", ca_file), _pem("--certificate-file", certificate_file), _pem("--key-file", key_file)
    )


async def probe(address: str, asked: RequestedTrigger, tls: ClientTls | None) -> list[CallReport]:
    """Ask as KEDA does in one poll, then open its streams for a moment, and ask for the health.

    It takes 30 s at most. When the scaler cannot be reached, the calls after the first are not made.
    """
    async with _channel(address, asked, tls) as channel:
        calls = _Calls(channel, asked)
        answers = [await _timed("GetMetricSpec", calls.spec)]
        if answers[0].status in UNREACHABLE:
            return answers
        if calls.metric_name:
            answers.append(await _timed("GetMetrics", calls.metrics))
        else:
            answers.append(CallReport("GetMetrics", None, "-", "not asked: there is no metric name to ask for"))
        for name, ask in (
            ("IsActive", calls.is_active),
            ("StreamIsActive", calls.stream_is_active),
            ("StreamMetricSpec", calls.stream_spec),
            ("Health", calls.health),
        ):
            answers.append(await _timed(name, ask))
        return answers


class _Calls:
    """KEDA's calls about one trigger. Each says in words what KEDA makes of the answer."""

    def __init__(self, channel: "grpc.aio.Channel", asked: RequestedTrigger) -> None:
        self._stub = externalscaler_pb2_grpc.ExternalScalerStub(channel)
        self._health: Any = health_pb2_grpc.HealthStub(channel)
        self._reference = pb.ScaledObjectRef(name=asked.name, namespace=asked.namespace, scalerMetadata=asked.metadata)
        self._spec: pb.MetricSpec | None = None

    @property
    def metric_name(self) -> str:
        """What GetMetricSpec named."""
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
        answer = await self._stub.IsActive(self._reference, timeout=CALL_SECONDS)
        return "active" if answer.result else "not active"

    async def stream_is_active(self) -> str:
        stream = self._stub.StreamIsActive(self._reference, timeout=CALL_SECONDS)
        began = time.monotonic()
        try:
            async with asyncio.timeout(LISTEN_SECONDS):
                said = await stream.read()
        except TimeoutError:
            return f"open, nothing said for {LISTEN_SECONDS:g} s"
        finally:
            stream.cancel()
        if said is grpc.aio.EOF:
            raise _UnusableError("the scaler ended the stream: is it stopping?")
        return f"{'active' if said.result else 'not active'}, said after {(time.monotonic() - began) * 1000:.0f} ms"

    async def stream_spec(self) -> str:
        stream = self._stub.StreamMetricSpec(self._reference, timeout=CALL_SECONDS)
        try:
            said = await stream.read()
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.UNIMPLEMENTED:
                return "not offered: KEDA asks GetMetricSpec only"
            raise
        finally:
            stream.cancel()
        if said is grpc.aio.EOF:
            raise _UnusableError("the scaler ended the stream: is it stopping?")
        if _only(said.metricSpecs, "metric spec") != self._spec:
            raise _UnusableError("it differs from what GetMetricSpec said")
        return "as GetMetricSpec"

    async def health(self) -> str:
        answer = await self._health.Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=CALL_SECONDS)
        status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise _UnusableError(f"{SERVICE} is {status}")
        return str(status)


def _channel(address: str, asked: RequestedTrigger, tls: ClientTls | None) -> "grpc.aio.Channel":
    if tls is None and asked.metadata.get("enableTLS") == "true":
        tls = ClientTls()
    if tls is None:
        return grpc.aio.insecure_channel(address)
    # KEDA checks the certificate against scalerAddress; what is asked may be a forwarded port.
    expected = asked.metadata.get("scalerAddress", "").rpartition(":")[0]
    options = [("grpc.ssl_target_name_override", expected)] if expected else []
    credentials = grpc.ssl_channel_credentials(tls.ca, tls.key, tls.certificate)
    return grpc.aio.secure_channel(address, credentials, options=options)


async def _timed(call: str, ask: Callable[[], Awaitable[str]]) -> CallReport:
    began = time.monotonic()
    try:
        status, seen = "OK", await ask()
    except grpc.aio.AioRpcError as error:
        status, seen = error.code().name, error.details() or ""
    except _UnusableError as error:
        status, seen = "unusable", str(error)
    return CallReport(call, time.monotonic() - began, status, seen[:MAX_CHARACTERS])


def _only(answers: Any, what: str) -> Any:
    """The only one: KEDA would add up several, and cannot scale by none."""
    if len(answers) != 1:
        raise _UnusableError(f"{len(answers)} {what}s where KEDA needs one")
    return answers[0]


def _number(given: float, whole: int) -> float:
    """The number that KEDA uses: the float if it is above 0."""
    return given if given > 0 else whole


def _pem(option: str, file: Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(option, str(file), f"It cannot be read: {error.strerror}.") from None
