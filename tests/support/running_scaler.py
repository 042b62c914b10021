"""A real scaler that runs while a test looks on, and a client that asks it as KEDA does."""

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

__all__ = ["Keda", "Poll", "Running", "channel_to", "failure", "running_scaler", "scaler_settings"]

#: Longer than any bound in the tests: a call that takes so long hangs.
CALL_SECONDS = 20.0
SCALER = {"grpc_host": "127.0.0.1", "grpc_port": 0, "http_host": "127.0.0.1", "http_port": 0}
Metadata = Mapping[str, str]


@dataclass(frozen=True)
class Poll:
    """What KEDA learns in one poll."""

    spec: pb.MetricSpec
    value: pb.MetricValue
    active: bool


class Keda:
    """Asks a scaler in KEDA's order; metadata has text only."""

    def __init__(self, channel: "grpc.aio.Channel") -> None:
        self.channel = channel
        self.stub = externalscaler_pb2_grpc.ExternalScalerStub(channel)

    async def spec(self, metadata: Metadata, **names: str) -> pb.MetricSpec:
        """GetMetricSpec, which must have exactly one answer."""
        answer = await self.stub.GetMetricSpec(reference(metadata, **names), timeout=CALL_SECONDS)
        [spec] = answer.metricSpecs
        assert isinstance(spec, pb.MetricSpec)
        return spec

    async def value(self, metadata: Metadata, metric_name: str = "triggerfish-x", **names: str) -> pb.MetricValue:
        """GetMetrics, which must have exactly one answer."""
        request = pb.GetMetricsRequest(scaledObjectRef=reference(metadata, **names), metricName=metric_name)
        answer = await self.stub.GetMetrics(request, timeout=CALL_SECONDS)
        [value] = answer.metricValues
        assert isinstance(value, pb.MetricValue)
        return value

    async def target(self, metadata: Metadata, **names: str) -> int:
        """The number of GetMetrics."""
        return (await self.value(metadata, **names)).metricValue

    async def active(self, metadata: Metadata, **names: str) -> bool:
        """IsActive."""
        answer = await self.stub.IsActive(reference(metadata, **names), timeout=CALL_SECONDS)
        return bool(answer.result)

    async def poll(self, metadata: Metadata, **names: str) -> Poll:
        """One poll: GetMetricSpec, GetMetrics for its metric, IsActive."""
        spec = await self.spec(metadata, **names)
        value = await self.value(metadata, spec.metricName, **names)
        return Poll(spec, value, await self.active(metadata, **names))

    @contextlib.asynccontextmanager
    async def activity(self, metadata: Metadata, **names: str) -> AsyncIterator["Stream"]:
        """An open StreamIsActive; cancelled after the block if the scaler has not ended it."""
        async with Stream.reading(self.stub.StreamIsActive(reference(metadata, **names))) as stream:
            yield stream

    @contextlib.asynccontextmanager
    async def specs(self, metadata: Metadata, **names: str) -> AsyncIterator["Stream"]:
        """An open StreamMetricSpec; cancelled after the block if the scaler has not ended it."""
        async with Stream.reading(self.stub.StreamMetricSpec(reference(metadata, **names))) as stream:
            yield stream


@dataclass
class Stream:
    """An open stream and all that it has said."""

    call: "grpc.aio.UnaryStreamCall[object, object]"
    said: list[Any] = field(default_factory=list)

    @classmethod
    @contextlib.asynccontextmanager
    async def reading(cls, call: "grpc.aio.UnaryStreamCall[object, object]") -> AsyncIterator["Stream"]:
        """Read until the end of the stream or of the block."""
        stream = cls(call)
        reader = asyncio.create_task(stream._read())
        try:
            yield stream
        finally:
            call.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _read(self) -> None:
        async for answer in self.call:
            self.said.append(answer.result if isinstance(answer, pb.IsActiveResponse) else answer)

    async def code(self) -> grpc.StatusCode:
        """The status with which the scaler ends the stream."""
        async with asyncio.timeout(CALL_SECONDS):
            return await self.call.code()


@dataclass
class Running:
    """A scaler that serves."""

    server: ScalerServer
    keda: Keda
    http: aiohttp.ClientSession

    async def get(self, path: str) -> tuple[int, str]:
        """The status and the text of an HTTP answer."""
        async with self.http.get(f"http://127.0.0.1:{self.server.http_port}{path}") as response:
            return response.status, await response.text()

    async def samples(self) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
        """What /metrics says: per sample name the value of each set of labels."""
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
        """How many rounds of measuring there were."""
        return int((await self.samples())["triggerfish_sample_duration_seconds_count"][()])


def scaler_settings(server: Addressed | None = None, **sections: object) -> Settings:
    """Settings with free ports and the server as default connection. `scaler` adds to that section."""
    scaler = sections.pop("scaler", {})
    assert isinstance(scaler, dict)
    connection = {"connection": server.address} if server is not None else {}
    return load_settings(None, **{**connection, **sections, "scaler": {**SCALER, **scaler}})


@contextlib.asynccontextmanager
async def running_scaler(
    server: Addressed | None = None, *, credentials: grpc.ChannelCredentials | None = None, **sections: object
) -> AsyncIterator[Running]:
    """A scaler with these settings, stopped after the block. With `credentials` it is asked over TLS."""
    scaler = ScalerServer(scaler_settings(server, **sections))
    serving = asyncio.create_task(scaler.run())
    try:
        await eventually(lambda: scaler.started.is_set() or serving.done())
        async with (
            channel_to(scaler, credentials) as channel,
            aiohttp.ClientSession() as http,
        ):
            yield Running(scaler, Keda(channel), http)
    finally:
        scaler.stop()
        async with asyncio.timeout(CALL_SECONDS):
            await serving


def channel_to(scaler: ScalerServer, credentials: grpc.ChannelCredentials | None) -> "grpc.aio.Channel":
    """A connection of its own to a scaler, over TLS if there are credentials."""
    address = f"127.0.0.1:{scaler.grpc_port}"
    options = (("grpc.use_local_subchannel_pool", 1),)
    if credentials is None:
        return grpc.aio.insecure_channel(address, options)
    return grpc.aio.secure_channel(address, credentials, options)


def reference(metadata: Metadata, name: str = "worker", namespace: str = "shop") -> pb.ScaledObjectRef:
    """A ScaledObject as KEDA sends it."""
    return pb.ScaledObjectRef(name=name, namespace=namespace, scalerMetadata=metadata)


@dataclass
class Failure:
    """How a call failed."""

    details: str = ""


@contextlib.contextmanager
def failure(code: grpc.StatusCode, *words: str) -> Iterator[Failure]:
    """The block must end with this status, and a message that has these words."""
    caught = Failure()
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        yield caught
    caught.details = raised.value.details() or ""
    assert raised.value.code() == code, caught.details
    assert all(word in caught.details for word in words), f"{caught.details!r} lacks one of {words}"
