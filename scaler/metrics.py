"""The scaler's metrics, all in one table."""

import hashlib
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from listeners.errors import SourceError
from listeners.triggers import PolledTrigger
from listeners.version import __version__
from scaler.activation import ActivationWatch
from scaler.evaluation import Evaluator, Watched

__all__ = ["PushCollector", "ScalerMetrics", "TriggerCollector"]

LABELS = ("namespace", "scaledobject", "trigger", "function", "kind")
MAX_LABEL_CHARACTERS = 100
#: The part of a longer label that tells it from others with the same beginning.
HASH_CHARACTERS = 12
STREAMS = ("StreamIsActive", "StreamMetricSpec")


class ScalerMetrics:
    """The series that count events."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._sample_duration = Histogram(
            "triggerfish_sample_duration_seconds", "Duration of one round of measuring a Redis.", registry=registry
        )
        self._sample_errors = Counter(
            "triggerfish_sample_errors", "Rounds that failed, by reason.", ("reason",), registry=registry
        )
        self.requests = Counter(
            "triggerfish_grpc_requests", "KEDA's calls, by method and status.", ("method", "code"), registry=registry
        )
        self.open_streams = Gauge(
            "triggerfish_open_streams", "Open streams of KEDA, by method.", ("method",), registry=registry
        )
        self.reload_errors = Counter(
            "triggerfish_reload_errors",
            "Files that changed and could not be used: what was read before stays.",
            ("what",),
            registry=registry,
        )
        # A series that begins with its first event hides that event from rate() and increase().
        for reason in sorted(kind.reason for kind in SourceError.__subclasses__()):
            self._sample_errors.labels(reason)
        for method in STREAMS:
            self.open_streams.labels(method)
        Info("triggerfish_build", "The running version.", registry=registry).info({"version": __version__})

    def measured(self, seconds: float, error: str | None) -> None:
        """Count a round of measuring. `error` is one of the fixed reasons of SourceError."""
        self._sample_duration.observe(seconds)
        if error is not None:
            self._sample_errors.labels(error).inc()


class PushCollector(Collector):
    """How often the triggers with open streams are looked at; of a connection without any, there is no series."""

    def __init__(self, watch: ActivationWatch) -> None:
        self._watch = watch

    def collect(self) -> Iterator[Metric]:
        """Make the series anew for each scrape."""
        family = GaugeMetricFamily(
            "triggerfish_push_interval_seconds",
            "Time between two looks at a trigger with an open StreamIsActive, by named connection.",
            labels=("connection",),
        )
        for connection, seconds in sorted(self._watch.intervals_seconds().items()):
            family.add_metric((_bounded(connection),), seconds)
        yield family


class TriggerCollector(Collector):
    """The series of the triggers that are asked about. One that is forgotten has none; what is not known, no value."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    def collect(self) -> Iterator[Metric]:
        """Make the series anew for each scrape."""
        families = {
            name: GaugeMetricFamily(f"triggerfish_trigger_{name}", help_text, labels=LABELS)
            for name, help_text in (
                ("known", "1 if the last sample worked; 0 if the backlog is not known."),
                ("sample_age_seconds", "Age of the values below."),
                ("length", "Entries in the lists or streams."),
                ("in_flight", "List elements taken and not finished."),
                ("pending", "Stream entries delivered and not acknowledged."),
                ("lag", "Stream entries not delivered to the group yet."),
                ("lag_capped", "1 if counting the lag stopped at its limit."),
                ("backlog", "Entries not finished yet."),
                ("messages_per_worker", "Entries that one instance should get."),
                ("target_instances", "Instances wanted."),
                ("active", "1 if the backlog is above the activation threshold."),
            )
        }
        for labels, watched in self._by_labels().items():
            for name, value in _values(watched):
                families[name].add_metric(labels, value)
        yield from families.values()

    def _by_labels(self) -> dict[tuple[str, ...], Watched]:
        """Each set of labels once: of a request that claims the labels of a declared trigger, there is no series."""
        chosen: dict[tuple[str, ...], Watched] = {}
        for watched in self._evaluator.watched():
            labels = _labels(watched)
            if labels not in chosen or watched.origin.declared:
                chosen[labels] = watched
        return chosen


def _labels(watched: Watched) -> tuple[str, ...]:
    scaled = watched.scaled
    labels = (watched.origin.namespace, watched.origin.name, scaled.metric_name, scaled.function, scaled.trigger.kind)
    return tuple(_bounded(label) for label in labels)


def _bounded(label: str) -> str:
    if len(label) <= MAX_LABEL_CHARACTERS:
        return label
    digest = hashlib.sha256(label.encode()).hexdigest()[:HASH_CHARACTERS]
    return f"{label[: MAX_LABEL_CHARACTERS - HASH_CHARACTERS - 1]}~{digest}"


def _values(watched: Watched) -> Iterator[tuple[str, float]]:
    yield "known", watched.known
    trigger, last = watched.scaled.trigger, watched.last
    if isinstance(trigger, PolledTrigger):
        yield "messages_per_worker", trigger.messages_per_worker
    if last is None or not watched.known:
        return
    yield "sample_age_seconds", last.age_seconds
    yield "target_instances", last.target
    yield "active", last.active
    if last.backlog is None:
        return
    keys = last.backlog.keys
    yield "backlog", last.backlog.entries
    yield "length", sum(key.length for key in keys)
    if trigger.kind == "list":
        yield "in_flight", sum(key.in_flight for key in keys)
    else:
        yield "pending", sum(key.pending for key in keys)
        yield "lag", sum(key.lag.entries for key in keys if key.lag)
        yield "lag_capped", last.backlog.capped
