"""Runs a real scaler in the test's process, with a client that calls it as KEDA does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from scaler.keda import externalscaler_pb2 as pb
from scaler.keda import externalscaler_pb2_grpc
from scaler.server import ScalerServer
from scaler.settings import Settings, load_settings
from tests.support.running_host import Addressed
from tests.support.waiting import eventually

__all__ = ["Keda", "Poll", "RunningScaler", "channel_to", "failure", "running_scaler", "scaler_settings"]

#: Longer than any time limit in the tests, so a call that takes this long hangs.
CALL_SECONDS = 20.0
SCALER = {"grpc_host": "127.0.0.1", "grpc_port": 0, "http_host": "127.0.0.1", "http_port": 0}
Metadata = Mapping[str, str]


@dataclass(frozen=True)
class Poll:
    """The result of one poll."""

    spec: pb.MetricSpec
    value: pb.MetricValue
    active: bool


class Keda:
    """Calls a scaler as KEDA does, with metadata of text values."""

    def __init__(self, channel: "grpc.aio.Channel") -> None:
        self.channel = channel
        self.stub = externalscaler_pb2_grpc.ExternalScalerStub(channel)

    async def spec(self, metadata: Metadata, **names: str) -> pb.MetricSpec:
        """Call GetMetricSpec, which must return exactly one spec."""
        answer = await self.stub.GetMetricSpec(reference(metadata, **names), timeout=CALL_SECONDS)
        [spec] = answer.metricSpecs
        assert isinstance(spec, pb.MetricSpec)
        return spec

    async def value(self, metadata: Metadata, metric_name: str = "triggerfish-x", **names: str) -> pb.MetricValue:
        """Call GetMetrics, which must return exactly one value."""
        request = pb.GetMetricsRequest(scaledObjectRef=reference(metadata, **names), metricName=metric_name)
        answer = await self.stub.GetMetrics(request, timeout=CALL_SECONDS)
        [value] = answer.metricValues
        assert isinstance(value, pb.MetricValue)
        return value

    async def target(self, metadata: Metadata, **names: str) -> int:
        """Call GetMetrics and return its number."""
        return (await self.value(metadata, **names)).metricValue

    async def active(self, metadata: Metadata, **names: str) -> bool:
        """Call IsActive."""
        answer = await self.stub.IsActive(reference(metadata, **names), timeout=CALL_SECONDS)
        return bool(answer.result)

    async def poll(self, metadata: Metadata, **names: str) -> Poll:
        """Poll once: GetMetricSpec, GetMetrics for its metric, IsActive."""
        spec = await self.spec(metadata, **names)
        value = await self.value(metadata, spec.metricName, **names)
        return Poll(spec, value, await self.active(metadata, **names))

    @contextlib.asynccontextmanager
    async def activity(self, metadata: Metadata, **names: str) -> AsyncIterator["Stream"]:
        """Open StreamIsActive, and cancel it after the block if the scaler has not ended it."""
        async with Stream.reading(self.stub.StreamIsActive(reference(metadata, **names))) as stream:
            yield stream

    @contextlib.asynccontextmanager
    async def specs(self, metadata: Metadata, **names: str) -> AsyncIterator["Stream"]:
        """Open StreamMetricSpec, and cancel it after the block if the scaler has not ended it."""
        async with Stream.reading(self.stub.StreamMetricSpec(reference(metadata, **names))) as stream:
            yield stream


@dataclass
class Stream:
    """An open stream and all messages received from it."""

    call: "grpc.aio.UnaryStreamCall[object, object]"
    received: list[Any] = field(default_factory=list)

    @classmethod
    @contextlib.asynccontextmanager
    async def reading(cls, call: "grpc.aio.UnaryStreamCall[object, object]") -> AsyncIterator["Stream"]:
        """Read in the background until the stream or the block ends."""
        stream = cls(call)
        reader = asyncio.create_task(stream._read())
        try:
            yield stream
        finally:
            call.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _read(self) -> None:
        async for answer in self.call:
            self.received.append(answer.result if isinstance(answer, pb.IsActiveResponse) else answer)

    async def code(self) -> grpc.StatusCode:
        """Wait until the scaler ends the stream, and return the status code."""
        async with asyncio.timeout(CALL_SECONDS):
            return await self.call.code()


@dataclass
class RunningScaler:
    """A running scaler with its clients."""

    server: ScalerServer
    keda: Keda
    http: aiohttp.ClientSession
    host: str = "127.0.0.1"

    async def get(self, path: str) -> tuple[int, str]:
        """Return the status and the text of an HTTP response."""
        async with self.http.get(f"http://{self.host}:{self.server.http_port}{path}") as response:
            return response.status, await response.text()

    async def samples(self) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
        """Return the samples of /metrics: by name, the value of each set of labels."""
        _, text = await self.get("/metrics")
        found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                series = found.setdefault(sample.name, {})
                labels = tuple(sorted(sample.labels.items()))
                assert labels not in series, f"{sample.name} has a series twice: {labels}"
                series[labels] = sample.value
        return found

    async def rounds(self) -> int:
        """Return the number of measurements so far."""
        return int((await self.samples())["triggerfish_sample_duration_seconds_count"][()])


def scaler_settings(server: Addressed | None = None, **sections: object) -> Settings:
    """Return settings with free ports and the server as the default connection. `scaler` adds to that section."""
    scaler = sections.pop("scaler", {})
    assert isinstance(scaler, dict)
    connection = {"connection": server.address} if server is not None else {}
    return load_settings(None, **{**connection, **sections, "scaler": {**SCALER, **scaler}})


@contextlib.asynccontextmanager
async def running_scaler(
    server: Addressed | None = None, *, credentials: grpc.ChannelCredentials | None = None, **sections: object
) -> AsyncIterator[RunningScaler]:
    """Run a scaler with these settings during the block. With `credentials`, the client connects over TLS."""
    settings = scaler_settings(server, **sections)
    scaler = ScalerServer(settings)
    serving = asyncio.create_task(scaler.run())
    try:
        await eventually(lambda: scaler.started.is_set() or serving.done())
        async with (
            channel_to(scaler, credentials) as channel,
            aiohttp.ClientSession() as http,
        ):
            yield RunningScaler(scaler, Keda(channel), http, settings.scaler.http_host)
    finally:
        scaler.stop()
        async with asyncio.timeout(CALL_SECONDS):
            await serving


def channel_to(scaler: ScalerServer, credentials: grpc.ChannelCredentials | None) -> "grpc.aio.Channel":
    """Open a separate connection to a scaler, over TLS if there are credentials."""
    address = f"127.0.0.1:{scaler.grpc_port}"
    options = (("grpc.use_local_subchannel_pool", 1),)
    if credentials is None:
        return grpc.aio.insecure_channel(address, options)
    return grpc.aio.secure_channel(address, credentials, options)


def reference(metadata: Metadata, name: str = "worker", namespace: str = "shop") -> pb.ScaledObjectRef:
    """Return a ScaledObject reference as KEDA sends it."""
    return pb.ScaledObjectRef(name=name, namespace=namespace, scalerMetadata=metadata)


@dataclass
class Failure:
    """The details of a failed call."""

    details: str = ""


@contextlib.contextmanager
def failure(code: grpc.StatusCode, *words: str) -> Iterator[Failure]:
    """Assert that the block fails with this status and a message that contains these words."""
    caught = Failure()
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        yield caught
    caught.details = raised.value.details() or ""
    assert raised.value.code() == code, caught.details
    assert all(word in caught.details for word in words), f"{caught.details!r} lacks one of {words}"
