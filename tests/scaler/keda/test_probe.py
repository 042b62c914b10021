"""Probing another scaler: the order of the calls, their deadlines, and answers that KEDA cannot use."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from scaler.keda import externalscaler_pb2 as pb
from scaler.keda import externalscaler_pb2_grpc, probe
from scaler.keda.call_report import MAX_CHARACTERS, CallReport
from scaler.triggers.scaled_objects import RequestedTrigger
from tests.triggerfish.cli.test_probe import CALLS


class Scaler(externalscaler_pb2_grpc.ExternalScalerServicer):
    """Another scaler, which records its calls, and gives the answers that a test sets."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.spec = pb.GetMetricSpecResponse(metricSpecs=[pb.MetricSpec(metricName="m-1", targetSize=2)])
        self.values = pb.GetMetricsResponse(metricValues=[pb.MetricValue(metricName="m-1", metricValue=5)])
        self.stream = [pb.IsActiveResponse(result=True)]
        self.hangs = False

    async def GetMetricSpec(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.calls.append(("GetMetricSpec", request.name))
        return self.spec

    async def GetMetrics(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.calls.append(("GetMetrics", request.metricName))
        if self.hangs:
            await asyncio.Event().wait()
        return self.values

    async def IsActive(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.calls.append(("IsActive", request.scalerMetadata["keys"]))
        return pb.IsActiveResponse(result=False)

    async def StreamIsActive(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.calls.append(("StreamIsActive", request.namespace))
        for message in self.stream:
            yield message


@contextlib.asynccontextmanager
async def serving(scaler: Scaler) -> AsyncIterator[str]:
    """Serve another scaler, which has no health service, and yield its address."""
    server = grpc.aio.server()
    externalscaler_pb2_grpc.add_ExternalScalerServicer_to_server(scaler, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def probed(scaler: Scaler) -> dict[str, CallReport]:
    """Probe another scaler, and return the reports by call."""
    async with serving(scaler) as address:
        reports = await probe.probe(address, RequestedTrigger("shop", "worker", {"keys": "orders"}), None)
    return {report.call: report for report in reports}


async def test_the_order_of_the_calls() -> None:
    """The calls come in KEDA's order with the ScaledObject's names, and request the metric that was returned."""
    scaler = Scaler()
    reports = await probed(scaler)
    assert list(reports) == CALLS
    assert scaler.calls == [
        ("GetMetricSpec", "worker"),
        ("GetMetrics", "m-1"),
        ("IsActive", "orders"),
        ("StreamIsActive", "shop"),
    ]
    assert reports["GetMetricSpec"].seen == "m-1, target size 2"
    assert reports["GetMetrics"].seen == "value 5, so 3 instances"
    assert reports["StreamMetricSpec"].seen.startswith("not implemented")
    assert [call for call, report in reports.items() if report.failed] == ["Health"]
    assert reports["Health"].status == "UNIMPLEMENTED"


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
    """An answer that KEDA cannot use counts as failed, with the reason."""
    scaler = Scaler()
    spoil(scaler)
    report = (await probed(scaler))[call]
    assert (report.failed, report.status) == (True, "unusable")
    assert words in report.seen


async def test_a_long_answer() -> None:
    """The longest error of a scaler is reported whole; what is longer ends with an ellipsis."""
    scaler = Scaler()
    for characters, end in ((1_000, "m"), (5_000, "…")):
        scaler.spec.metricSpecs[0].metricName = "m" * characters
        seen = (await probed(scaler))["GetMetricSpec"].seen.removesuffix(", target size 2")
        assert seen.endswith(end)
        assert len(seen) == min(characters, MAX_CHARACTERS)


async def test_a_scaler_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that hangs ends at its deadline, and the other calls are still made."""
    monkeypatch.setattr(probe, "CALL_SECONDS", 0.5)
    scaler = Scaler()
    scaler.hangs = True
    reports = await probed(scaler)
    assert reports["GetMetrics"].status == "DEADLINE_EXCEEDED"
    assert reports["IsActive"].status == "OK"
