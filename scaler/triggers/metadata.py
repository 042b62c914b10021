"""Reads what a ScaledObject says of a trigger: `triggers[].metadata`, as KEDA sends it. Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from listeners.errors import ConfigurationError
from listeners.functions.triggers import PubSubTrigger, StreamTrigger, Trigger, parse_declaration
from scaler.triggers.measured_trigger import MeasuredTrigger

__all__ = ["METRIC_PREFIX", "ScaledTrigger", "check_names", "metric_name", "read_metadata"]

METRIC_PREFIX = "triggerfish-"

#: KEDA's own keys of an external scaler, which it sends along.
KEDA_KEYS = frozenset(
    {"scaleraddress", "enabletls", "unsafessl", "cacert", "tlsclientcert", "tlsclientkey", "tlscertfile"}
)

#: What a metric's name is made of.
NAMING = frozenset({"connection", "keys", "channel", "consumergroup", "function"})
MAX_INSTANCES_DEFAULT = 100
MAX_NUMBER = 2**31
MAX_DIGITS = 20
MAX_KEY_CHARACTERS = 100
#: What one trigger's metadata and names may hold: ten thousand of them are remembered.
MAX_METADATA_CHARACTERS = 20_000
MAX_NAME_CHARACTERS = 253


@dataclass(frozen=True)
class ScaledTrigger:
    """A trigger and how it scales.

    `function` and `app` are labels. `activation`: more entries than this wake the app. `max_instances` caps the answer,
    and bounds how far entries are counted. `from_env`: fields whose value came from an environment variable.
    """

    trigger: Trigger
    function: str = ""
    app: str = ""
    activation: int = 0
    max_instances: int | None = None
    from_env: frozenset[str] = frozenset()

    @property
    def measured(self) -> MeasuredTrigger | None:
        """What has to be measured; None for pub/sub, which needs no measuring."""
        if isinstance(self.trigger, PubSubTrigger):
            return None
        return MeasuredTrigger(self.trigger, self.max_instances or MAX_INSTANCES_DEFAULT)

    @cached_property
    def metric_name(self) -> str:
        """The name of its metric; see metric_name."""
        return metric_name(self.trigger, self.function, self.from_env)


def metric_name(trigger: Trigger, function_name: str, from_env: frozenset[str] = frozenset()) -> str:
    """A name for the metric: lower case, the same for the same trigger, different for another one.

    KEDA keeps it in the HPA, so that it must never change for a deployed trigger: it depends on the kind, the
    connection's name, the keys or the channel, the consumer group and the function, and on nothing else. A value that
    comes from an environment variable may change: it counts as unknown, so that two triggers which differ in such a
    value only need different functions.
    """
    group = trigger.consumer_group if isinstance(trigger, StreamTrigger) else ""
    reads = {"channel": [trigger.channel]} if isinstance(trigger, PubSubTrigger) else {"keys": list(trigger.keys)}
    parts = {"connection": trigger.connection or "", **reads, "consumergroup": group, "function": function_name}
    stable = [None if name in from_env else part for name, part in parts.items()]
    identity = json.dumps([trigger.kind, *stable])
    return f"{METRIC_PREFIX}{trigger.kind}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def read_metadata(metadata: Mapping[str, str], ignored: Iterable[str] = ()) -> ScaledTrigger:
    """Read a trigger from metadata; every value is text. `xFromEnv` counts as `x`: KEDA sends the resolved value.

    KEDA's own keys and those in `ignored` are passed over. Raises ConfigurationError that names the key, the value and
    the fix.
    """
    ours = _ours(metadata, KEDA_KEYS | {key.lower() for key in ignored})
    by_folded = {key.lower(): key for key in ours}
    type_key = by_folded.get("type")
    if type_key is None:
        raise ConfigurationError(
            "type", None, "metadata needs it: RedisListTrigger, RedisStreamTrigger or RedisPubSubTrigger."
        )
    type_name = ours.pop(type_key)
    labels = {name: _take(ours, by_folded, name) or "" for name in ("function", "app")}
    activation = _number("activationMessages", _take(ours, by_folded, "activationmessages"), 0)
    max_instances = _number("maxInstances", _take(ours, by_folded, "maxinstances"), 1)
    trigger = parse_declaration(type_name, ours)
    _check_size(metadata)
    resolved = {key.removesuffix("FromEnv").lower() for key in metadata if key.endswith("FromEnv")}
    return ScaledTrigger(
        trigger, **labels, activation=activation or 0, max_instances=max_instances, from_env=NAMING & resolved
    )


def _check_size(metadata: Mapping[str, str]) -> None:
    size = sum(len(key) + len(value) for key, value in metadata.items())
    if size > MAX_METADATA_CHARACTERS:
        longest = max(metadata, key=lambda key: len(metadata[key]))
        fix = f"It is too long: metadata may have {MAX_METADATA_CHARACTERS} characters in all, and this has {size}."
        raise ConfigurationError(longest, None, fix)


def check_names(namespace: str, name: str) -> None:
    """Refuse names that no ScaledObject can have, as they are remembered. Raises ConfigurationError."""
    for field, given in (("namespace", namespace), ("name", name)):
        if len(given) > MAX_NAME_CHARACTERS:
            raise ConfigurationError(field, given, f"Kubernetes has names of at most {MAX_NAME_CHARACTERS} characters.")


def _ours(metadata: Mapping[str, str], passed_over: frozenset[str]) -> dict[str, str]:
    """What is said to us, without FromEnv. A map has no order: of a key that is there twice, neither could win."""
    ours: dict[str, str] = {}
    folded: set[str] = set()
    for key, value in metadata.items():
        name = key.removesuffix("FromEnv") or key
        if key.lower() in passed_over or name.lower() in passed_over:
            continue
        if len(key) > MAX_KEY_CHARACTERS or not key.isprintable():
            raise ConfigurationError("metadata", key, "There is no such option: remove this key.")
        if name.lower() in folded:
            raise ConfigurationError(name, None, "It is given twice: keep one of its spellings.")
        folded.add(name.lower())
        ours[name] = value
    return ours


def _take(ours: dict[str, str], by_folded: Mapping[str, str], name: str) -> str | None:
    key = by_folded.get(name)
    return ours.pop(key) if key is not None else None


def _number(name: str, value: str | None, least: int) -> int | None:
    if value is None:
        return None
    # The length first: Python refuses to read a number of thousands of digits.
    if not value.isdecimal() or len(value) > MAX_DIGITS or not least <= int(value) <= MAX_NUMBER:
        raise ConfigurationError(name, value, f"Give a whole number from {least} to {MAX_NUMBER}.")
    return int(value)
