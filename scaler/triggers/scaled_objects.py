"""Reads the triggers that a user gives: metadata as KEY=VALUE, and ScaledObjects and ScaledJobs in YAML."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from listeners.errors import ConfigurationError
from listeners.runtime.bounded_yaml import load_documents
from listeners.text import syntax_problem
from scaler.queues.libraries import QUEUE_TYPES

__all__ = ["RequestedTrigger", "SkippedTrigger", "documents", "external_triggers", "metadata_from", "triggers_in"]

SCALED = ("ScaledObject", "ScaledJob")
EXTERNAL = ("external", "external-push")
FROM_ENV = "FromEnv"
#: The annotations with which people pause a ScaledObject. KEDA then deletes its HPA.
PAUSED = ("autoscaling.keda.sh/paused", "autoscaling.keda.sh/paused-replicas")


@dataclass(frozen=True)
class RequestedTrigger:
    """A trigger as KEDA would send it: the namespace and name of its ScaledObject or ScaledJob, and its metadata.

    `hpa` is the name of the HPA that KEDA makes; None for a ScaledJob, and while the ScaledObject is paused.
    """

    namespace: str
    name: str
    metadata: dict[str, str]
    hpa: str | None = None


@dataclass(frozen=True)
class SkippedTrigger:
    """A trigger that is not for this scaler, and the reason as a line of text."""

    line: str


def metadata_from(pairs: Sequence[str]) -> dict[str, str]:
    """Return metadata from KEY=VALUE texts. Raises ConfigurationError without the value, which may be a secret."""
    metadata: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise ConfigurationError("--metadata", None, "Give KEY=VALUE, such as --metadata keys=orders.")
        if key in metadata:
            raise ConfigurationError("--metadata", key, "It is given twice. Keep one.")
        metadata[key] = value
    return metadata


def triggers_in(
    file: Path, address: str, more: Mapping[str, str], namespace: str
) -> Iterator[RequestedTrigger | SkippedTrigger]:
    """Yield the triggers of the ScaledObjects and ScaledJobs in a YAML file; a SkippedTrigger for each that is not for
    this scaler.

    An external trigger is for this scaler if its scalerAddress is `address`, or if its `type` is Triggerfish's (the
    address may be forwarded). `more` is added to the metadata of each trigger and takes precedence. `namespace` applies
    to objects without one. Raises ConfigurationError.
    """
    scaled_objects = [document for document in documents(file, "--file") if document.get("kind") in SCALED]
    if not scaled_objects:
        raise ConfigurationError("--file", str(file), "It has no `kind: ScaledObject` and no `kind: ScaledJob`.")
    for scaled_object in scaled_objects:
        header = _mapping(scaled_object.get("metadata"), "metadata")
        names = (str(header.get("namespace") or namespace), str(header.get("name") or ""))
        triggers = list(_triggers(scaled_object))
        hpa = _hpa_name(scaled_object)
        for where, trigger in triggers:
            found = _trigger(trigger, names, address, more, where)
            if isinstance(found, RequestedTrigger):
                _check_metric_types(scaled_object, trigger, where)
                found = replace(found, hpa=hpa)
            yield found


def external_triggers(scaled_object: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the external triggers of a ScaledObject that have a Triggerfish `type`, each with its path in the object.

    Raises ConfigurationError.
    """
    for where, trigger in _triggers(scaled_object):
        if str(trigger.get("type")) in EXTERNAL:
            metadata = _mapping(trigger.get("metadata"), f"{where}.metadata")
            if _is_for_this_scaler(metadata, None):
                _check_metric_types(scaled_object, trigger, where)
                for key, value in metadata.items():
                    _check_text(f"{where}.metadata.{key}", value)
                yield where, trigger


def _triggers(scaled_object: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    triggers = _mapping(scaled_object.get("spec"), "spec").get("triggers")
    if not isinstance(triggers, list):
        raise ConfigurationError("spec.triggers", None, "KEDA needs a list here.")
    for number, trigger in enumerate(triggers):
        where = f"spec.triggers[{number}]"
        yield where, _mapping(trigger, where)


def _check_metric_types(scaled_object: Mapping[str, Any], trigger: Mapping[str, Any], where: str) -> None:
    """Raise ConfigurationError if KEDA would use another type of metric than the target is meant for.

    The type of a formula over several triggers takes the place of theirs.
    """
    modifiers = "spec.advanced.scalingModifiers"
    advanced = _mapping(scaled_object["spec"].get("advanced") or {}, "spec.advanced")
    for place, section in ((where, trigger), (modifiers, _mapping(advanced.get("scalingModifiers") or {}, modifiers))):
        metric_type = section.get("metricType")
        if metric_type not in (None, "", "AverageValue"):
            effect = "the HPA would multiply the instances without bound"
            if scaled_object.get("kind") == "ScaledJob":
                effect = "KEDA would start no job"
            fix = f"With the scaler's target size of 1, {effect}. Remove it."
            raise ConfigurationError(f"{place}.metricType", metric_type, fix)


def _hpa_name(scaled_object: Mapping[str, Any]) -> str | None:
    if scaled_object.get("kind") == "ScaledJob":
        return None
    header = scaled_object.get("metadata") or {}
    annotations = header.get("annotations") or {}
    if any(str(annotations.get(key, "false")) != "false" for key in PAUSED):
        return None
    config = (scaled_object.get("spec", {}).get("advanced") or {}).get("horizontalPodAutoscalerConfig") or {}
    return str(config.get("name") or f"keda-hpa-{header.get('name')}")


def _trigger(
    trigger: Mapping[str, Any], names: tuple[str, str], address: str, more: Mapping[str, str], where: str
) -> RequestedTrigger | SkippedTrigger:
    kind = str(trigger.get("type"))
    if kind not in EXTERNAL:
        return SkippedTrigger(f"{where}: a built-in KEDA trigger of type {kind}")
    metadata = {str(key): value for key, value in _mapping(trigger.get("metadata"), f"{where}.metadata").items()}
    if not _is_for_this_scaler(metadata, address):
        return SkippedTrigger(f"{where}: {kind} at {metadata.get('scalerAddress')}, without a Triggerfish type")
    return RequestedTrigger(*names, _as_sent(metadata, more, where))


def _is_for_this_scaler(metadata: Mapping[str, Any], address: str | None) -> bool:
    own_type = next((str(value) for key, value in metadata.items() if key.lower() == "type"), "").lower()
    # A misspelt type is included: the scaler's reply explains what is wrong with it.
    is_own = own_type.startswith("redis") or own_type.endswith("queue") or own_type in QUEUE_TYPES
    return is_own or (address is not None and metadata.get("scalerAddress") == address)


def _as_sent(metadata: Mapping[str, Any], more: Mapping[str, str], where: str) -> dict[str, str]:
    """Return the metadata with the user's additions. Raises ConfigurationError for what KEDA could not send."""
    for key, value in metadata.items():
        if key in more:
            continue
        field = f"{where}.metadata.{key}"
        _check_text(field, value)
        if key.endswith(FROM_ENV):
            fix = f"KEDA sends the value of this variable. Give it with --metadata {key}=VALUE."
            raise ConfigurationError(field, None, fix)
    return {**metadata, **more}


def _check_text(field: str, value: object) -> None:
    if not isinstance(value, str):
        shown = None if "connection" in field.lower() else value
        raise ConfigurationError(field, shown, "Kubernetes accepts only text here. Put it in quotes.")


def documents(file: Path, field: str) -> list[dict[str, Any]]:
    """Return all objects in a YAML file, including those in lists, as `kubectl get -o yaml` prints them.

    Raises ConfigurationError; `field` is the option that named the file.
    """
    try:
        found = list(load_documents(file.read_text("utf-8")))
    except OSError as error:
        raise ConfigurationError(field, str(file), f"It cannot be read: {error.strerror}.") from None
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(field, str(file), f"It is not YAML: {syntax_problem(error)}.") from None
    return [one for document in found for one in _items(document) if isinstance(one, dict)]


def _items(document: object) -> list[Any]:
    items = document.get("items") if isinstance(document, dict) else None
    return items if isinstance(items, list) else [document]


def _mapping(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigurationError(where, value, "KEDA needs a mapping here.")
    return value
