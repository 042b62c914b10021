"""Reads triggers from the metadata of a ScaledObject (`triggers[].metadata`), as KEDA sends it. No I/O."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from pydantic.alias_generators import to_camel

from listeners.errors import ConfigurationError
from listeners.functions.declarations import folded, parse_declaration, parse_trigger
from listeners.functions.triggers import PubSubTrigger, StreamTrigger, Trigger
from scaler.queues.libraries import QUEUE_TYPES
from scaler.queues.refused import REFUSED
from scaler.queues.trigger import QueueTrigger
from scaler.triggers.measured_trigger import MeasuredTrigger

__all__ = [
    "MAX_NUMBER",
    "METRIC_PREFIX",
    "ScaledTrigger",
    "check_names",
    "invalid_metric_name",
    "metric_name",
    "read_metadata",
]

METRIC_PREFIX = "triggerfish-"

#: KEDA's own keys of an external scaler, which it sends too.
KEDA_KEYS = frozenset(
    {"scaleraddress", "enabletls", "unsafessl", "cacert", "tlsclientcert", "tlsclientkey", "tlscertfile"}
)

#: The keys of metadata that are not parameters of the trigger.
SIBLINGS = ("type", "function", "app", "activationMessages", "maxInstances")
#: The fields of a queue's trigger that its metric's name does not depend on.
UNNAMED_FIELDS = frozenset({"connection_string", "messages_per_worker"})
#: The keys that a metric's name depends on.
NAME_KEYS = frozenset({"connection", "keys", "channel", "consumergroup", "function"}) | {
    folded(field) for cls in QUEUE_TYPES.values() for field in cls.model_fields.keys() - UNNAMED_FIELDS
}
MAX_INSTANCES_DEFAULT = 100
MAX_NUMBER = 2**31
MAX_DIGITS = 20
MAX_KEY_CHARACTERS = 100
#: Bounds for the metadata and names of one trigger, as up to ten thousand are kept in memory.
MAX_METADATA_CHARACTERS = 20_000
#: Each unknown key costs an error, for which all other requests wait.
MAX_METADATA_KEYS = 100
MAX_NAME_CHARACTERS = 253


@dataclass(frozen=True)
class ScaledTrigger:
    """A trigger and how it scales.

    `function` and `app` are labels. The trigger is active with more entries than `activation`. `max_instances` caps the
    target, and bounds how far entries are counted. `from_env`: the keys whose values came from environment variables.
    """

    trigger: Trigger | QueueTrigger
    function: str = ""
    app: str = ""
    activation: int = 0
    max_instances: int | None = None
    from_env: frozenset[str] = frozenset()

    @cached_property
    def measured(self) -> MeasuredTrigger | None:
        """The trigger to measure; None for pub/sub, which has no backlog."""
        if isinstance(self.trigger, PubSubTrigger):
            return None
        return MeasuredTrigger(self.trigger, self.max_instances or MAX_INSTANCES_DEFAULT)

    @cached_property
    def metric_name(self) -> str:
        """The name of the metric; see the function `metric_name`."""
        return metric_name(self.trigger, self.function, self.from_env)


def metric_name(trigger: Trigger | QueueTrigger, function_name: str, from_env: frozenset[str] = frozenset()) -> str:
    """Return the name of a trigger's metric, in lower case. Equal triggers have equal names, others different ones.

    KEDA stores it in the HPA, so it must never change for a deployed trigger. It depends only on the kind, the
    connection's name, the keys or the channel, the consumer group and the function, and for queues of other libraries
    on all fields that say which keys are read. A value from an environment variable may change, so it is replaced by a
    placeholder. Two triggers that differ only in such a value therefore need different functions.
    """
    if isinstance(trigger, QueueTrigger):
        identity = json.dumps([trigger.kind, _queue_parts(trigger, function_name, from_env)])
    else:
        group = trigger.consumer_group if isinstance(trigger, StreamTrigger) else ""
        reads = {"channel": [trigger.channel]} if isinstance(trigger, PubSubTrigger) else {"keys": list(trigger.keys)}
        parts = {"connection": trigger.connection or "", **reads, "consumergroup": group, "function": function_name}
        identity = json.dumps([trigger.kind, *(None if name in from_env else part for name, part in parts.items())])
    return f"{METRIC_PREFIX}{trigger.kind}-{_digest(identity)}"


def _queue_parts(trigger: QueueTrigger, function_name: str, from_env: frozenset[str]) -> dict[str, object]:
    """Return what distinguishes a trigger, without defaults, so that a field that is added later changes no name."""
    parts: dict[str, object] = {"function": function_name}
    for name, field in sorted(type(trigger).model_fields.items()):
        value = getattr(trigger, name)
        if folded(name) in from_env:
            parts[folded(name)] = None
        elif name not in UNNAMED_FIELDS and value != field.default:
            parts[folded(name)] = value
    return parts


def invalid_metric_name(metadata: Mapping[str, str]) -> str:
    """Return the name of the metric for metadata that read_metadata() rejects.

    A value from an environment variable does not affect it, because it may be a secret and may change. Nor do the keys
    if there are too many.
    """
    if len(metadata) > MAX_METADATA_KEYS:
        return f"{METRIC_PREFIX}invalid-{_digest('many')}"
    stable = {key: None if key.endswith("FromEnv") else value for key, value in metadata.items()}
    return f"{METRIC_PREFIX}invalid-{_digest(json.dumps(stable, sort_keys=True))}"


def read_metadata(metadata: Mapping[str, str], ignored: Iterable[str] = ()) -> ScaledTrigger:
    """Read a trigger from metadata, whose values are text. `xFromEnv` is read as `x`: KEDA sends the resolved value.

    KEDA's own keys and those in `ignored` are skipped. Raises ConfigurationError for all mistakes,
    with the key, the value and the fix.
    """
    _check_size(metadata)
    given, written, problems = _given(metadata, KEDA_KEYS | {key.lower() for key in ignored})
    by_folded = {key.lower(): key for key in given}
    type_name = _take(given, by_folded, "type")
    labels = {name: _take(given, by_folded, name) or "" for name in ("function", "app")}
    numbers = {"activationMessages": 0, "maxInstances": 1}
    found: dict[str, int | None] = {}
    for name, min_value in numbers.items():
        try:
            found[name] = _number(name, _take(given, by_folded, name.lower()), min_value)
        except ConfigurationError as error:
            problems.append(error)
    try:
        trigger = _parse(type_name, given)
    except ConfigurationError as error:
        raise ConfigurationError.combined(
            [_as_written(one, written) for one in (*problems, error, *error.others)]
        ) from None
    if problems:
        raise ConfigurationError.combined(problems)
    resolved = {key.removesuffix("FromEnv").lower() for key in metadata if key.endswith("FromEnv")}
    return ScaledTrigger(
        trigger,
        **labels,
        activation=found["activationMessages"] or 0,
        max_instances=found["maxInstances"],
        from_env=NAME_KEYS & resolved,
    )


def _parse(type_name: str | None, given: Mapping[str, str]) -> Trigger | QueueTrigger:
    folded_type = (type_name or "").lower()
    if (cls := QUEUE_TYPES.get(folded_type)) is not None:
        return parse_trigger(cls, given, to_camel, SIBLINGS)
    for refused, reason in REFUSED.items():
        if folded_type == refused.lower():
            raise ConfigurationError("type", type_name, reason)
    return parse_declaration(type_name, given, SIBLINGS, [cls.type_name for cls in QUEUE_TYPES.values()])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _as_written(error: ConfigurationError, written: Mapping[str, str]) -> ConfigurationError:
    """Return the error alone, with the key as the metadata has it."""
    return ConfigurationError(written.get(error.field, error.field), error.value, error.fix)


def _check_size(metadata: Mapping[str, str]) -> None:
    """Raise ConfigurationError for metadata that is too large to look for further mistakes in it."""
    if len(metadata) > MAX_METADATA_KEYS:
        fix = f"It has more than {MAX_METADATA_KEYS} options. Remove those that are unknown."
        raise ConfigurationError("metadata", None, fix)
    size = sum(len(key) + len(value) for key, value in metadata.items())
    if size <= MAX_METADATA_CHARACTERS:
        return
    longest = max(metadata, key=lambda key: len(metadata[key]))
    fix = f"Shorten it. Metadata may have {MAX_METADATA_CHARACTERS} characters in total, and this has {size}."
    raise ConfigurationError(longest, None, fix)


def check_names(namespace: str, name: str) -> None:
    """Raise ConfigurationError for names that no ScaledObject can have, as names are kept in memory."""
    for field, value in (("namespace", namespace), ("name", name)):
        if len(value) > MAX_NAME_CHARACTERS:
            fix = f"It is too long. Names in Kubernetes have at most {MAX_NAME_CHARACTERS} characters."
            raise ConfigurationError(field, value, fix)


def _given(
    metadata: Mapping[str, str], skipped: frozenset[str]
) -> tuple[dict[str, str], dict[str, str], list[ConfigurationError]]:
    """Return the metadata without skipped keys and FromEnv, the keys as they were written, and what is wrong with keys.

    A map has no order, so no key may occur twice.
    """
    given: dict[str, str] = {}
    written: dict[str, str] = {}
    folded: set[str] = set()
    problems: list[ConfigurationError] = []
    for key, value in metadata.items():
        name = key.removesuffix("FromEnv") or key
        if key.lower() in skipped or name.lower() in skipped:
            continue
        if len(key) > MAX_KEY_CHARACTERS or not key.isprintable():
            problems.append(ConfigurationError("metadata", key, "There is no such option. Remove this key."))
        elif name.lower() in folded:
            problems.append(ConfigurationError(name, None, "It is given twice. Keep one of its spellings."))
        else:
            folded.add(name.lower())
            given[name], written[name] = value, key
    return given, written, problems


def _take(given: dict[str, str], by_folded: Mapping[str, str], name: str) -> str | None:
    key = by_folded.get(name)
    return given.pop(key) if key is not None else None


def _number(name: str, value: str | None, min_value: int) -> int | None:
    if value is None:
        return None
    # The length is checked first: Python refuses to parse a number with thousands of digits.
    if not value.isdecimal() or len(value) > MAX_DIGITS or not min_value <= int(value) <= MAX_NUMBER:
        raise ConfigurationError(name, value, f"Give a whole number from {min_value} to {MAX_NUMBER}.")
    return int(value)
