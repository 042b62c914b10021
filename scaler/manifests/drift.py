"""Compares a file of `triggerfish manifest` (manifests, or values for the chart) with what the app declares now.

Only what determines a trigger's scaling is compared: its function, type, connection, keys or channel, consumer group,
messages per worker and delivery. Everything else in the file belongs to its owner: images, bounds, labels, behaviour,
addresses, other scalers. Spelling, explicit defaults and order are ignored, too.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from listeners.errors import ConfigurationError
from listeners.text import printable
from scaler.manifests.rendering import AppDeployment, quoted
from scaler.triggers.app_triggers import declared_parameters, text_of
from scaler.triggers.metadata import ScaledTrigger, read_metadata
from scaler.triggers.scaled_objects import documents, external_triggers

__all__ = ["Drift", "drift"]

FIELD = "--check"
MAX_LINE = 1_000


@dataclass(frozen=True)
class Drift:
    """How a file differs from an app: the lines of a unified diff, empty without drift.

    `in_values`: the file has values for the chart, not manifests.
    """

    lines: list[str]
    in_values: bool


@dataclass(frozen=True)
class _FileContent:
    """An app's triggers in a file, and the connections that the file defines (None in manifests, which define none)."""

    triggers: list[ScaledTrigger]
    connections: list[str] | None = None


def drift(app: AppDeployment, file: Path) -> Drift:
    """Compare a file with what the app declares.

    Raises ConfigurationError if the file lacks the app, or contains something that KEDA or the scaler would reject.
    """
    content = _read_file(file, app)
    in_values = content.connections is not None
    connections = set(content.connections or ())
    declared = list(app.triggers) if in_values or not app.only_pubsub else []  # without a ScaledObject
    lines = difflib.unified_diff(
        _lines(content.triggers, connections),
        _lines(declared, connections | set(app.connections) if in_values else set()),
        fromfile=f"written in {file}",
        tofile=f"declared in {app.reference}",
        lineterm="",
    )
    return Drift([printable(line, MAX_LINE) for line in lines], in_values)


def _lines(triggers: Iterable[ScaledTrigger], connections: set[str]) -> list[str]:
    """Return a block of YAML for each trigger, in the order of the functions' names."""
    blocks = [_block(scaled) for scaled in triggers]
    if connections:
        blocks.append(["connections:", *(f"  {quoted(name)}:" for name in sorted(connections))])
    return [line for block in sorted(blocks) for line in block]


def _block(scaled: ScaledTrigger) -> list[str]:
    parameters = declared_parameters(scaled, explicit=True)
    return [f"{quoted(scaled.function)}:", *(f"  {key}: {quoted(value)}" for key, value in parameters.items())]


def _read_file(file: Path, app: AppDeployment) -> _FileContent:
    found = documents(file, FIELD)
    for document in found:
        if isinstance(document.get("apps"), dict) and app.name in document["apps"]:
            return _read_values(document, app)
    matching = [document for document in found if _name(document) == app.name]
    if not any(document.get("kind") in ("Deployment", "ScaledObject") for document in matching):
        names = sorted({name for document in found for name in _names(document)})
        fix = f"It has no Deployment, ScaledObject or `apps` entry named {app.name}"
        raise ConfigurationError(FIELD, str(file), f"{fix} (found: {', '.join(names) or 'none'}). Give --name.")
    scaled_objects = [document for document in matching if document.get("kind") == "ScaledObject"]
    return _FileContent([scaled for document in scaled_objects for scaled in _read_scaled_object(document)])


def _names(document: Mapping[str, Any]) -> Iterator[str]:
    if isinstance(document.get("apps"), dict):
        yield from map(str, document["apps"])
    elif document.get("kind") in ("Deployment", "ScaledObject"):
        yield _name(document)


def _name(document: Mapping[str, Any]) -> str:
    metadata = document.get("metadata")
    return str(metadata.get("name")) if isinstance(metadata, dict) else ""


def _read_scaled_object(document: Mapping[str, Any]) -> Iterator[ScaledTrigger]:
    for where, trigger in external_triggers(document):
        yield _parse_trigger(trigger["metadata"], f"{where}.metadata")


def _read_values(document: Mapping[str, Any], app: AppDeployment) -> _FileContent:
    where = f"apps.{app.name}.triggers"
    entry = document["apps"][app.name]
    triggers = entry.get("triggers") if isinstance(entry, dict) else None
    if not isinstance(triggers, dict) or not all(isinstance(trigger, dict) for trigger in triggers.values()):
        raise ConfigurationError(where, None, "It needs a type and parameters for each function.")
    connections = document.get("connections")
    return _FileContent(
        [_parse_trigger({**trigger, "function": name}, f"{where}.{name}") for name, trigger in triggers.items()],
        [str(name).lower() for name in connections] if isinstance(connections, dict) else [],
    )


def _parse_trigger(parameters: Mapping[str, Any], where: str) -> ScaledTrigger:
    try:
        return read_metadata({str(key): text_of(value) for key, value in parameters.items()})
    except ConfigurationError as error:
        raise ConfigurationError.within(where, error) from None
