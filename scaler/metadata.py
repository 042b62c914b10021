"""Reads what a ScaledObject says of a trigger: `triggers[].metadata`, as KEDA sends it. Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from listeners.errors import ConfigurationError
from listeners.triggers import PubSubTrigger, StreamTrigger, Trigger, parse_trigger, trigger_class
from scaler.backlog import Subject

__all__ = ["METRIC_PREFIX", "ScaledTrigger", "metric_name", "read_metadata"]

METRIC_PREFIX = "triggerfish-"

#: KEDA's own keys of an external scaler, which it sends along.
KEDA_KEYS = frozenset(
    {"scaleraddress", "enabletls", "unsafessl", "cacert", "tlsclientcert", "tlsclientkey", "tlscertfile"}
)

MAX_INSTANCES_DEFAULT = 100
MAX_NUMBER = 2**31


@dataclass(frozen=True)
class ScaledTrigger:
    """A trigger and how it scales.

    `function` and `app` are labels. `activation`: more entries than this wake the app. `max_instances` caps the answer,
    and bounds how far entries are counted.
    """

    trigger: Trigger
    function: str = ""
    app: str = ""
    activation: int = 0
    max_instances: int | None = None

    @property
    def subject(self) -> Subject | None:
        """What has to be measured; None for pub/sub, which needs no measuring."""
        if isinstance(self.trigger, PubSubTrigger):
            return None
        return Subject(self.trigger, self.max_instances or MAX_INSTANCES_DEFAULT)

    @property
    def metric_name(self) -> str:
        """The name of its metric; see metric_name."""
        return metric_name(self.trigger, self.function)


def metric_name(trigger: Trigger, function: str) -> str:
    """A name for the metric: lower case, the same for the same trigger, different for another one.

    KEDA keeps it in the HPA, so that it must never change for a deployed trigger: it depends on the kind, the
    connection's name, the keys or the channel, the consumer group and the function, and on nothing else.
    """
    group = trigger.consumer_group if isinstance(trigger, StreamTrigger) else ""
    reads = [trigger.channel] if isinstance(trigger, PubSubTrigger) else list(trigger.keys)
    identity = json.dumps([trigger.kind, trigger.connection or "", reads, group, function])
    return f"{METRIC_PREFIX}{trigger.kind}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def read_metadata(metadata: Mapping[str, str], ignored: Iterable[str] = ()) -> ScaledTrigger:
    """Read a trigger from metadata; every value is text. `xFromEnv` counts as `x`: KEDA sends the resolved value.

    KEDA's own keys and those in `ignored` are passed over. Raises ConfigurationError that names the key, the value and
    the fix.
    """
    passed_over = KEDA_KEYS | {key.lower() for key in ignored}
    ours = {_without_from_env(key): value for key, value in metadata.items() if key.lower() not in passed_over}
    by_folded = {key.lower(): key for key in ours}
    type_key = by_folded.get("type")
    if type_key is None:
        raise ConfigurationError(
            "type", None, "metadata needs it: RedisListTrigger, RedisStreamTrigger or RedisPubSubTrigger."
        )
    cls = trigger_class(ours.pop(type_key))
    labels = {name: _take(ours, by_folded, name) or "" for name in ("function", "app")}
    activation = _number("activationMessages", _take(ours, by_folded, "activationmessages"), 0)
    max_instances = _number("maxInstances", _take(ours, by_folded, "maxinstances"), 1)
    trigger = parse_trigger(cls, ours)
    return ScaledTrigger(trigger, **labels, activation=activation or 0, max_instances=max_instances)


def _without_from_env(key: str) -> str:
    return key[: -len("FromEnv")] if key.endswith("FromEnv") else key


def _take(ours: dict[str, str], by_folded: Mapping[str, str], name: str) -> str | None:
    key = by_folded.get(name)
    return ours.pop(key) if key is not None else None


def _number(name: str, value: str | None, least: int) -> int | None:
    if value is None:
        return None
    if not value.isdecimal() or not least <= int(value) <= MAX_NUMBER:
        raise ConfigurationError(name, value, f"Give a whole number, {least} or more.")
    return int(value)
