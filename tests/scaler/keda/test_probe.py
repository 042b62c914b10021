"""Playing KEDA's calls against a scaler that is not ours: their order, their bounds, and answers that mislead."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from scaler.keda import externalscaler_pb2 as pb
from scaler.keda import externalscaler_pb2_grpc, probe
from scaler.keda.probe import CallReport
from scaler.triggers.scaled_objects import RequestedTrigger
from tests.triggerfish.cli.test_probe import CALLS


class Scaler(externalscaler_pb2_grpc.ExternalScalerServicer):
    """Another scaler, which notes what it is asked, and answers what the test wants."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.spec = pb.GetMetricSpecResponse(metricSpecs=[pb.MetricSpec(metricName="m-1", targetSize=2)])
        self.values = pb.GetMetricsResponse(metricValues=[pb.MetricValue(metricName="m-1", metricValue=5)])
        self.stream = [pb.IsActiveResponse(result=True)]
        self.hangs = False

    async def GetMetricSpec(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.asked.append(("GetMetricSpec", request.name))
        return self.spec

    async def GetMetrics(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.asked.append(("GetMetrics", request.metricName))
        if self.hangs:
            await asyncio.Event().wait()
        return self.values

    async def IsActive(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.asked.append(("IsActive", request.scalerMetadata["keys"]))
        return pb.IsActiveResponse(result=False)

    async def StreamIsActive(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.asked.append(("StreamIsActive", request.namespace))
        for said in self.stream:
            yield said


@contextlib.asynccontextmanager
async def serving(scaler: Scaler) -> AsyncIterator[str]:
    """The address of another scaler while it serves; it has no health service."""
    server = grpc.aio.server()
    externalscaler_pb2_grpc.add_ExternalScalerServicer_to_server(scaler, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def probed(scaler: Scaler) -> dict[str, CallReport]:
    """The answers of another scaler, by call."""
    async with serving(scaler) as address:
        answers = await probe.probe(address, RequestedTrigger("shop", "worker", {"keys": "orders"}), None)
    return {answer.call: answer for answer in answers}


async def test_the_order_of_the_calls() -> None:
    """The calls come in KEDA's order with the ScaledObject's names, and ask for the metric that was named."""
    scaler = Scaler()
    answers = await probed(scaler)
    assert list(answers) == CALLS
    assert scaler.asked == [
        ("GetMetricSpec", "worker"),
        ("GetMetrics", "m-1"),
        ("IsActive", "orders"),
        ("StreamIsActive", "shop"),
    ]
    assert answers["GetMetricSpec"].seen == "m-1, target size 2"
    assert answers["GetMetrics"].seen == "value 5, so 3 instances"
    assert answers["StreamMetricSpec"].seen.startswith("not offered")
    assert [call for call, answer in answers.items() if answer.failed] == ["Health"]
    assert answers["Health"].status == "UNIMPLEMENTED"


def _two_specs(scaler: Scaler) -> None:
    scaler.spec.metricSpecs.append(scaler.spec.metricSpecs[0])


def _two_values(scaler: Scaler) -> None:
    scaler.values.metricValues.append(scaler.values.metricValues[0])


def _no_values(scaler: Scaler) -> None:
    del scaler.values.metricValues[:]


def _ends_at_once(scaler: Scaler) -> None:
    scaler.stream = []


@pytest.mark.parametrize(
    ("spoil", "call", "words"),
    [
        (_two_specs, "GetMetricSpec", "2 metric specs"),
        (_two_values, "GetMetrics", "2 metric values"),
        (_no_values, "GetMetrics", "0 metric values"),
        (_ends_at_once, "StreamIsActive", "ended the stream"),
    ],
)
async def test_answers_that_keda_cannot_use(spoil: Callable[[Scaler], None], call: str, words: str) -> None:
    """An answer that comes but misleads KEDA counts as failed, and says why."""
    scaler = Scaler()
    spoil(scaler)
    answer = (await probed(scaler))[call]
    assert (answer.failed, answer.status) == (True, "unusable")
    assert words in answer.seen


async def test_a_scaler_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that hangs ends at its deadline, and the others are made."""
    monkeypatch.setattr(probe, "CALL_SECONDS", 0.5)
    scaler = Scaler()
    scaler.hangs = True
    answers = await probed(scaler)
    assert answers["GetMetrics"].status == "DEADLINE_EXCEEDED"
    assert answers["IsActive"].status == "OK"
