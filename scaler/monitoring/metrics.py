"""The scaler's metrics of events and of pushed activation; trigger_metrics has those of each trigger."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from listeners.errors import SourceError
from listeners.version import __version__
from scaler.monitoring.trigger_metrics import bounded
from scaler.push.hub import ActivationHub

__all__ = ["PushCollector", "ScalerMetrics"]

STREAMS = ("StreamIsActive", "StreamMetricSpec")


class ScalerMetrics:
    """The series that count events."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._sample_duration = Histogram(
            "triggerfish_sample_duration_seconds", "Duration of one round of measuring a Redis.", registry=registry
        )
        self._sample_errors = Counter(
            "triggerfish_sample_errors", "Failed rounds of measuring, by reason.", ("reason",), registry=registry
        )
        self.requests = Counter(
            "triggerfish_grpc_requests", "KEDA's calls, by method and status.", ("method", "code"), registry=registry
        )
        self.open_streams = Gauge(
            "triggerfish_open_streams", "KEDA's open streams, by method.", ("method",), registry=registry
        )
        self.reload_errors = Counter(
            "triggerfish_reload_errors",
            "Files that were read and could not be used: a previous certificate stays in use, a connection does not.",
            ("what",),
            registry=registry,
        )
        self.untold_changes = Counter(
            "triggerfish_untold_changes",
            "Changes of keys that a Redis did not report although client tracking was on: it is polled for an hour.",
            registry=registry,
        )
        # rate() and increase() miss the first event of a series that starts with it.
        for reason in sorted(kind.reason for kind in SourceError.__subclasses__()):
            self._sample_errors.labels(reason)
        for method in STREAMS:
            self.open_streams.labels(method)
        Info("triggerfish_build", "The running version.", registry=registry).info({"version": __version__})

    def measured(self, seconds: float, error: str | None) -> None:
        """Count a round of measuring. `error` is a SourceError.reason, or None for success."""
        self._sample_duration.observe(seconds)
        if error is not None:
            self._sample_errors.labels(error).inc()


class PushCollector(Collector):
    """How triggers with open streams are checked. A connection without open streams has no series."""

    def __init__(self, hub: ActivationHub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        """Make the series for one scrape."""
        family = GaugeMetricFamily(
            "triggerfish_push_interval_seconds",
            "Time between two checks of a polled trigger with an open StreamIsActive, "
            "by the name of its connection (empty: the default connection or a connection string).",
            labels=("connection",),
        )
        for connection, seconds in sorted(self._hub.intervals_seconds().items()):
            family.add_metric((bounded(connection),), seconds)
        yield family
        polled = GaugeMetricFamily(
            "triggerfish_push_polled_triggers",
            "Triggers with an open StreamIsActive that are polled, because their Redis reports no changes of keys, or "
            "because they read streams with a backlog; by the name of the connection.",
            labels=("connection",),
        )
        for connection, triggers in sorted(self._hub.polled_triggers().items()):
            polled.add_metric((bounded(connection),), triggers)
        yield polled
