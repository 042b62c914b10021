"""The exact text of the scaler's metrics, and that requests cannot make them grow without bound."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import prometheus_client
import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from pydantic import SecretStr

from listeners.connections.named import Connections
from listeners.errors import SourceTimeoutError
from listeners.version import __version__
from scaler.access.access import Access
from scaler.evaluation.evaluator import Evaluation, Evaluator, TrackedTrigger
from scaler.measuring.backlog import Backlog, Jobs, KeyBacklog
from scaler.measuring.dead_letters import DeadLetterCount
from scaler.measuring.lag import Lag
from scaler.measuring.samplers import Samplers
from scaler.monitoring.metrics import PushCollector, ScalerMetrics
from scaler.monitoring.trigger_metrics import FAMILIES, MAX_LABEL_CHARACTERS, TriggerCollector
from scaler.push.hub import ActivationHub
from scaler.push.loop import PushPace
from scaler.triggers.metadata import MAX_METADATA_CHARACTERS, read_metadata
from scaler.triggers.owner import Owner
from tests.support.running_scaler import RunningScaler, failure, reference, running_scaler
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

LIST = {"type": "redisListTrigger", "keys": "orders"}
STREAM = {"type": "redisStreamTrigger", "keys": "payments"}
QUEUE = {"type": "RQQueue", "queue": "mail"}
PUBSUB = {"type": "redisPubSubTrigger", "channel": "prices.*"}
NOW = 1_000.0
#: Text that protobuf can transport, up to the length at which labels are shortened.
NAMES = st.text(st.characters(codec="utf-8"), max_size=MAX_LABEL_CHARACTERS)

EXPECTED = Path(__file__).with_name("expected")
NOWHERE = "127.0.0.1:1"
HOSTILE = 'a\n# TYPE b counter\nb{x="y"} 1\\ /?#\u202e\U0001f421\x00\r'


@pytest.fixture
def evaluator(monkeypatch: pytest.MonkeyPatch) -> Evaluator:
    """An evaluator without a Redis, whose clock always shows NOW."""
    monkeypatch.setattr("scaler.evaluation.evaluator.time", SimpleNamespace(monotonic=lambda: NOW))
    connections = Connections(SecretStr(NOWHERE), {"cache": SecretStr(f"{NOWHERE},defaultDatabase=1")})
    return Evaluator(Access(connections), Samplers(bound_seconds=1, on_measured=lambda seconds, error: None))


@pytest.fixture
def as_in_production() -> Iterator[None]:
    """Disable the series with the creation times of counters, as `triggerfish` does."""
    prometheus_client.disable_created_metrics()
    yield
    prometheus_client.enable_created_metrics()


def test_triggers_in_every_state(evaluator: Evaluator) -> None:
    """The exact text for a list, a stream with a capped lag, a queue, pub/sub, and an unknown trigger."""
    capped = Lag(10_000, "counted", capped=True)
    states = {
        "mail": (QUEUE, Backlog((KeyBacklog("mail", 3, in_flight=2, jobs=Jobs(1, 7, NOW + 60)),))),
        "handle": (LIST, Backlog((KeyBacklog("orders", 150, in_flight=2), KeyBacklog("returns", 3)))),
        "settle": (STREAM, Backlog((KeyBacklog("payments", 90_000, pending=7, lag=capped),))),
        "reprice": (PUBSUB, None),
    }
    for function, (metadata, backlog) in states.items():
        tracked = evaluator.track(Owner("shop", "worker"), read_metadata({**metadata, "function": function}))
        dead = {"handle": DeadLetterCount(3, 1_764_435_600_250), "settle": DeadLetterCount(0, None)}.get(function)
        tracked.record(Evaluation(2, active=True, backlog=backlog, taken_at=NOW - 1.5, dead_letters=dead))
    lost = evaluator.track(Owner("shop", "worker"), read_metadata({**LIST, "function": "lost"}))
    lost.record(Evaluation(2, active=True, backlog=Backlog((KeyBacklog("orders", 1),)), taken_at=NOW - 60))
    lost.record_failure(SourceTimeoutError("Redis did not answer"))
    assert generate_latest(TriggerCollector(evaluator.tracked())).decode() == (EXPECTED / "triggers.prom").read_text()


def families_of(evaluator: Evaluator) -> dict[str, list[Sample]]:
    """Return the triggers' samples by metric name."""
    return {family.name: family.samples for family in TriggerCollector(evaluator.tracked()).collect()}


@given(namespace=NAMES, name=NAMES, function=NAMES)
def test_any_labels(namespace: str, name: str, function: str) -> None:
    """Whatever a ScaledObject is called, a parser reads its name and nothing else from the text."""
    one = TrackedTrigger(Owner(namespace, name), read_metadata({**LIST, "function": function}))
    text = b"".join(TriggerCollector([one]).expositions()).decode()
    families = list(text_string_to_metric_families(text))
    assert {family.name for family in families} == set(FAMILIES)
    for sample in [sample for family in families for sample in family.samples]:
        assert (sample.labels["namespace"], sample.labels["scaledobject"]) == (namespace, name)
        assert sample.labels["function"] == function


@pytest.mark.usefixtures("as_in_production")
def test_events() -> None:
    """The exact text for events. Sample errors and open streams have their series from the start."""
    registry = CollectorRegistry()
    metrics = ScalerMetrics(registry)
    for seconds, error in ((0.004, None), (0.5, None), (2.0, "timeout")):
        metrics.measured(seconds, error)
    metrics.requests.labels("GetMetrics", "OK").inc(3)
    metrics.requests.labels("IsActive", "UNAVAILABLE").inc()
    metrics.open_streams.labels("StreamIsActive").inc(2)
    expected = (EXPECTED / "events.prom").read_text().replace("VERSION", __version__)
    assert generate_latest(registry).decode() == expected


async def test_push_intervals(evaluator: Evaluator) -> None:
    """The exact text for push intervals by connection. Triggers without a Redis have none."""
    hub = ActivationHub(evaluator, PushPace(interval_seconds=0.1, commands_per_second=20))
    registry = CollectorRegistry()
    registry.register(PushCollector(hub))
    triggers = ({**LIST, "keys": "a b"}, LIST, {**LIST, "connection": "Cache"}, {**LIST, "connection": "lost"}, PUBSUB)
    streams = [hub.activations(Owner("shop", "worker"), read_metadata(metadata)) for metadata in triggers]
    reading = [asyncio.create_task(anext(aiter(stream), None)) for stream in streams]
    await eventually(lambda: len(hub.intervals_seconds()) == 2)
    assert generate_latest(registry).decode() == (EXPECTED / "pushing.prom").read_text()
    hub.stop()
    await asyncio.gather(*reading)
    await hub.close()
    assert hub.intervals_seconds() == {}


def test_long_labels_stay_distinct(evaluator: Evaluator) -> None:
    """Labels are bounded, and long labels with the same beginning stay distinct."""
    for end in "ab":
        evaluator.track(Owner("shop", "x" * 200 + end), read_metadata(LIST))
    known = families_of(evaluator)["triggerfish_trigger_known"]
    names = {sample.labels["scaledobject"] for sample in known}
    assert len(names) == 2
    assert {len(name) for name in names} == {MAX_LABEL_CHARACTERS}


def test_the_labels_of_a_declared_trigger(evaluator: Evaluator) -> None:
    """A request that claims a declared trigger's labels adds no second series. The declared trigger is shown."""
    for owner in (Owner("", "both", declared=True), Owner("", "both")):
        evaluator.track(owner, read_metadata({**LIST, "messagesPerWorker": "7" if owner.declared else "1"}))
    [sample] = families_of(evaluator)["triggerfish_trigger_messages_per_worker"]
    assert sample.value == 7


async def test_names_that_are_too_long(scaler: RunningScaler) -> None:
    """Names that are too long for Kubernetes are refused, and not tracked."""
    for names in ({"name": "x" * 254}, {"namespace": "x" * 254}):
        for call in (scaler.keda.target, scaler.keda.active):
            with failure(StatusCode.INVALID_ARGUMENT, *names, "253"):
                await call(PUBSUB, **names)
        async with scaler.keda.activity(PUBSUB, **names) as stream:
            await stream.call.initial_metadata()
    assert list(scaler.server.evaluator.tracked()) == []


async def test_metadata_that_is_too_long(scaler: RunningScaler) -> None:
    """Metadata that would fill the memory is refused with the key that is too long, and not tracked."""
    with failure(StatusCode.INVALID_ARGUMENT, "keys: ", str(MAX_METADATA_CHARACTERS)) as caught:
        await scaler.keda.target({**LIST, "keys": "k" * MAX_METADATA_CHARACTERS})
    assert len(caught.details) < 200
    assert list(scaler.server.evaluator.tracked()) == []


async def test_a_cancelled_call(own_server: Server) -> None:
    """A call that KEDA cancels is counted as cancelled, and not as answered."""
    async with running_scaler(own_server, scaler={"bound_seconds": 30}) as scaler:
        own_server.process.send_signal(signal.SIGSTOP)
        call = scaler.keda.stub.IsActive(reference(LIST))
        await eventually(lambda: list(scaler.server.evaluator.tracked()))
        call.cancel()
        await eventually(lambda: _counted(scaler, "CANCELLED"))
        own_server.process.send_signal(signal.SIGCONT)


async def _counted(scaler: RunningScaler, code: str) -> bool:
    counted = (await scaler.samples()).get("triggerfish_grpc_requests_total", {})
    return counted == {(("code", code), ("method", "IsActive")): 1}
