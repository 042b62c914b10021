"""All metrics of the function host."""

from bisect import bisect_right
from collections.abc import Iterable
from threading import Lock

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.samples import Sample

from listeners.engine.settlement import Outcome

__all__ = ["FunctionMetrics", "HostMetrics"]

LABELS = ("app", "function")
DURATION_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
#: How many observations may wait to be counted.
MAX_OBSERVED = 1_000


class BatchedHistogram(Histogram):
    """A histogram that counts its observations when it is read; one by one, they cost more than a small call."""

    def _metric_init(self) -> None:
        super()._metric_init()
        self._observed: list[float] = []
        self._counting = Lock()

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """Record one observation, in seconds."""
        self._observed.append(amount)
        if len(self._observed) >= MAX_OBSERVED:
            self._count()

    def observe_all(self, seconds: Iterable[float]) -> None:
        """Record observations, in seconds."""
        self._observed += seconds
        if len(self._observed) >= MAX_OBSERVED:
            self._count()

    def _count(self) -> None:
        with self._counting:  # a registry may be collected on any thread
            observed = self._observed[:]
            del self._observed[: len(observed)]
            observed.sort()
            counted = 0
            for bucket, bound in zip(self._buckets, self._upper_bounds, strict=True):
                below = bisect_right(observed, bound, lo=counted)
                bucket.inc(below - counted)
                counted = below
            self._sum.inc(sum(observed))

    def _child_samples(self) -> Iterable[Sample]:
        self._count()
        return super()._child_samples()


class HostMetrics:
    """All series of the host. Label values come only from the app's declaration and from fixed sets."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.received = Counter("triggerfish_entries_received", "Entries taken from Redis.", LABELS, registry=registry)
        self.redelivered = Counter(
            "triggerfish_entries_redelivered",
            "Entries taken that had been delivered before.",
            LABELS,
            registry=registry,
        )
        self.settled = Counter(
            "triggerfish_entries_settled",
            "Entries whose call ended, by outcome.",
            (*LABELS, "outcome"),
            registry=registry,
        )
        self.in_progress = Gauge(
            "triggerfish_entries_in_progress", "Entries taken and not settled yet.", LABELS, registry=registry
        )
        self.overdue = Gauge(
            "triggerfish_calls_overdue",
            "Timed-out calls that were abandoned and are still running.",
            LABELS,
            registry=registry,
        )
        self.duration = BatchedHistogram(
            "triggerfish_handler_duration_seconds",
            "Duration of a call.",
            LABELS,
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        self.wait = BatchedHistogram(
            "triggerfish_entry_wait_seconds",
            "Time from a stream entry's ID to its call.",
            LABELS,
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        self.source_up = Gauge(
            "triggerfish_source_up", "1 if the trigger can be read from Redis.", LABELS, registry=registry
        )
        self.polled = Gauge(
            "triggerfish_source_polled",
            "1 if Redis reports no changes of the trigger's keys, so that they are polled.",
            LABELS,
            registry=registry,
        )
        self.untold_changes = Counter(
            "triggerfish_untold_changes",
            "Changes that Redis did not report although client tracking was on.",
            registry=registry,
        )
        self.source_errors = Counter(
            "triggerfish_source_errors",
            "Errors from Redis, by reason.",
            (*LABELS, "reason"),
            registry=registry,
        )
        self.lease_held = Gauge(
            "triggerfish_lease_held",
            "1 if this instance holds the lease of a pub/sub function. Functions without a lease have no series.",
            LABELS,
            registry=registry,
        )
        self.dropped = Counter(
            "triggerfish_messages_dropped",
            "Pub/sub messages dropped without a call.",
            LABELS,
            registry=registry,
        )
        self.blocks = Counter(
            "triggerfish_event_loop_blocks",
            "How often a function blocked the event loop for more than two seconds.",
            registry=registry,
        )
        self.entries_lost = Counter(
            "triggerfish_entries_lost",
            "Entries that were deleted from Redis, or trimmed from their stream, before a call with them succeeded.",
            LABELS,
            registry=registry,
        )
        self.dead_letters_dropped = Counter(
            "triggerfish_dead_letters_dropped",
            "Oldest dead letters dropped to keep within the bounds of a key's dead letters.",
            LABELS,
            registry=registry,
        )


class FunctionMetrics:
    """The series of one function, with their labels resolved once."""

    def __init__(self, metrics: HostMetrics, app_name: str, function_name: str) -> None:
        self._metrics = metrics
        self._labels = (app_name, function_name)
        self.received = metrics.received.labels(app_name, function_name)
        self.redelivered = metrics.redelivered.labels(app_name, function_name)
        self.in_progress = metrics.in_progress.labels(app_name, function_name)
        self.overdue = metrics.overdue.labels(app_name, function_name)
        self.duration = metrics.duration.labels(app_name, function_name)
        self.wait = metrics.wait.labels(app_name, function_name)
        self.source_up = metrics.source_up.labels(app_name, function_name)
        self.dropped = metrics.dropped.labels(app_name, function_name)
        self.entries_lost = metrics.entries_lost.labels(app_name, function_name)
        self.dead_letters_dropped = metrics.dead_letters_dropped.labels(app_name, function_name)
        self._settled = {outcome: metrics.settled.labels(app_name, function_name, outcome.value) for outcome in Outcome}

    def settled(self, outcome: Outcome, number: int = 1) -> None:
        """Count entries whose call ended."""
        self._settled[outcome].inc(number)

    def polled(self, polled: bool) -> None:
        """Set whether the trigger's keys are polled."""
        self._metrics.polled.labels(*self._labels).set(polled)

    def lease_held(self, held: bool) -> None:
        """Set whether this instance holds the lease. Call it only for a function with a lease.

        A series that is 0 on every instance means that none is subscribed.
        """
        self._metrics.lease_held.labels(*self._labels).set(held)

    def source_error(self, reason: str) -> None:
        """Count an error. `reason` is one of the fixed reasons of SourceError, or "internal"."""
        self._metrics.source_errors.labels(*self._labels, reason).inc()
