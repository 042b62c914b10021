"""The series of the triggers that are asked about, in Prometheus' text format. Pure."""

import hashlib
from collections.abc import Iterable, Iterator

from prometheus_client.utils import floatToGoString

from listeners.triggers import PolledTrigger
from scaler.evaluation import Watched

__all__ = ["FAMILIES", "trigger_series"]

MAX_LABEL_CHARACTERS = 100
#: The part of a longer label that tells it from others with the same beginning.
HASH_CHARACTERS = 12
FAMILIES = {
    f"triggerfish_trigger_{name}": help_text
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
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def trigger_series(watched: Iterable[Watched]) -> Iterator[str]:
    """The text in pieces that are quickly made, some of them empty. What is not known has no value.

    prometheus_client needs a second for a hundred thousand series, most of it to escape the same labels again and
    again: here each trigger's labels are written once.
    """
    shown: dict[str, dict[str, float]] = {}
    for one in watched:
        labels = _labels(one)
        # Of a request that claims the labels of a declared trigger, there is no series.
        if labels not in shown or one.origin.declared:
            shown[labels] = {f"triggerfish_trigger_{name}": value for name, value in _values(one)}
        yield ""
    for name, help_text in FAMILIES.items():
        yield f"# HELP {name} {help_text}\n# TYPE {name} gauge\n"
        for labels, values in shown.items():
            if name in values:
                yield f"{name}{labels} {floatToGoString(values[name])}\n"


def _labels(watched: Watched) -> str:
    """The labels in the order of their names, as the text format has them."""
    scaled = watched.scaled
    labels = {
        "function": scaled.function,
        "kind": scaled.trigger.kind,
        "namespace": watched.origin.namespace,
        "scaledobject": watched.origin.name,
        "trigger": scaled.metric_name,
    }
    written = (f'{name}="{_bounded(value).translate(_ESCAPES)}"' for name, value in labels.items())
    return f"{{{','.join(written)}}}"


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
