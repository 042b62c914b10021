"""The metrics of each tracked trigger."""

import hashlib
from collections.abc import Iterable, Iterator

from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from listeners.functions.triggers import PubSubTrigger
from scaler.evaluation.evaluator import TrackedTrigger
from scaler.queues.trigger import QueueTrigger

__all__ = ["FAMILIES", "TriggerCollector", "bounded"]

LABELS = ("namespace", "scaledobject", "trigger", "function", "kind")
MAX_LABEL_CHARACTERS = 100
#: The length of the hash that distinguishes shortened labels.
HASH_CHARACTERS = 12

FAMILIES = {
    f"triggerfish_trigger_{name}": help_text
    for name, help_text in (
        ("known", "1 if the last sample succeeded; 0 if the backlog is unknown."),
        ("sample_age_seconds", "Age of the sample that the other values come from."),
        ("length", "Entries in the lists or streams, or waiting jobs of queues."),
        ("in_flight", "List elements taken but not finished, or jobs in progress."),
        ("due", "Delayed jobs of queues whose time has come."),
        ("scheduled", "Delayed jobs of queues whose time has not come. They are not part of the backlog."),
        ("paused", "1 if a queue is paused: only its jobs in progress count."),
        ("pending", "Stream entries delivered but not acknowledged."),
        ("lag", "Stream entries not yet delivered to the group."),
        ("lag_capped", "1 if counting the lag stopped at its limit."),
        ("backlog", "Entries not yet finished."),
        ("dead_letters", "Dead letters of the lists or streams, of all functions that read them."),
        ("dead_letters_oldest_timestamp_seconds", "When the oldest of these dead letters was added (Unix time)."),
        ("messages_per_worker", "Entries per instance that the target is computed from."),
        ("target_instances", "Instances that should run."),
        ("active", "1 if the backlog is above the activation threshold."),
    )
}


class TriggerCollector(Collector):
    """The series of the tracked triggers in their current state. Unknown values have no series, and neither have
    triggers that are no longer tracked.

    It is made for one scrape, so that a thread can collect: ten thousand triggers have a hundred thousand series.
    """

    def __init__(self, tracked: Iterable[TrackedTrigger]) -> None:
        self._tracked = list(tracked)

    def collect(self) -> Iterator[Metric]:
        """Make the families one by one."""
        series = {labels: dict(_values(tracked)) for labels, tracked in self._by_labels().items()}
        for name, help_text in FAMILIES.items():
            family = GaugeMetricFamily(name, help_text, labels=LABELS)
            for labels, values in series.items():
                if name in values:
                    family.add_metric(labels, values[name])
            yield family

    def expositions(self) -> Iterator[bytes]:
        """Yield the text family by family: the text of all families would take a hundred megabytes."""
        return (generate_latest(_Family(family)) for family in self.collect())

    def _by_labels(self) -> dict[tuple[str, ...], TrackedTrigger]:
        """Return one trigger for each set of labels. A declared trigger wins over a request that claims its labels."""
        by_labels: dict[tuple[str, ...], TrackedTrigger] = {}
        for tracked in self._tracked:
            labels = _labels(tracked)
            if labels not in by_labels or tracked.owner.declared:
                by_labels[labels] = tracked
        return by_labels


class _Family(Collector):
    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterator[Metric]:
        yield self._family


def bounded(label: str) -> str:
    """Return a label value as Unicode text, shortened if it is long. A hash keeps values with the same beginning
    distinct.
    """
    label = label.encode(errors="replace").decode()
    if len(label) <= MAX_LABEL_CHARACTERS:
        return label
    digest = hashlib.sha256(label.encode()).hexdigest()[:HASH_CHARACTERS]
    return f"{label[: MAX_LABEL_CHARACTERS - HASH_CHARACTERS - 1]}~{digest}"


def _labels(tracked: TrackedTrigger) -> tuple[str, ...]:
    scaled = tracked.scaled
    labels = (tracked.owner.namespace, tracked.owner.name, scaled.metric_name, scaled.function, scaled.trigger.kind)
    return tuple(bounded(label) for label in labels)


def _values(tracked: TrackedTrigger) -> Iterator[tuple[str, float]]:
    known, trigger, last = tracked.known, tracked.scaled.trigger, tracked.last
    yield "triggerfish_trigger_known", known
    if not isinstance(trigger, PubSubTrigger):
        yield "triggerfish_trigger_messages_per_worker", trigger.messages_per_worker
    if last is None or not known:
        return
    yield "triggerfish_trigger_sample_age_seconds", last.age_seconds
    yield "triggerfish_trigger_target_instances", last.target
    yield "triggerfish_trigger_active", last.active
    if last.dead_letters is not None:
        yield "triggerfish_trigger_dead_letters", last.dead_letters.letters
        if last.dead_letters.oldest_ms is not None:
            yield "triggerfish_trigger_dead_letters_oldest_timestamp_seconds", last.dead_letters.oldest_ms / 1000
    if last.backlog is None:
        return
    keys = last.backlog.keys
    yield "triggerfish_trigger_backlog", last.backlog.entries
    yield "triggerfish_trigger_length", sum(key.length for key in keys)
    if trigger.kind != "stream":
        yield "triggerfish_trigger_in_flight", sum(key.in_flight for key in keys)
    if isinstance(trigger, QueueTrigger):
        jobs = [key.jobs for key in keys if key.jobs is not None]
        yield "triggerfish_trigger_due", sum(one.due for one in jobs)
        yield "triggerfish_trigger_scheduled", sum(one.scheduled for one in jobs)
        yield "triggerfish_trigger_paused", any(one.paused for one in jobs)
    if trigger.kind == "stream":
        yield "triggerfish_trigger_pending", sum(key.pending for key in keys)
        yield "triggerfish_trigger_lag", sum(key.lag.entries for key in keys if key.lag)
        yield "triggerfish_trigger_lag_capped", last.backlog.capped
