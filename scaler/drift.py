"""Whether a file still says what an app declares: manifests or values for the chart, as `triggerfish manifest` writes.

What counts as declared is what a trigger's scaling follows from: its function, type, connection, keys or channel,
consumer group, messages per worker and delivery. All else in the file is its owner's: images, bounds, labels, behaviour,
addresses, other scalers. Spellings, defaults that are written out, and the order do not count either.
"""

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from listeners.errors import ConfigurationError
from scaler.declared import declared_parameters, text_of
from scaler.legible import legible
from scaler.metadata import ScaledTrigger, read_metadata
from scaler.rendering import Deployed
from scaler.scaledobjects import documents, external_triggers

__all__ = ["drift"]

OPTION = "--check"
MAX_LINE = 1_000


@dataclass(frozen=True)
class _Said:
    """What a file says of an app: its triggers, and the connections that it defines, if it is a file that does."""

    triggers: list[ScaledTrigger]
    connections: list[str] | None = None


def drift(app: Deployed, file: Path) -> list[str]:
    """What the file says and what the app declares, as the lines of a unified diff; none if they agree.

    Raises ConfigurationError if the file does not have the app, or has what KEDA or the scaler would refuse.
    """
    said = _said(file, app)
    declared = list(app.triggers)
    connections = None if said.connections is None else sorted(set(app.connections) | set(said.connections))
    if said.connections is None and app.only_pubsub:
        declared = []  # it has no ScaledObject
    lines = difflib.unified_diff(
        _lines(said.triggers, said.connections),
        _lines(declared, connections),
        fromfile=f"what {file} says",
        tofile=f"what {app.reference} declares",
        lineterm="",
    )
    return [legible(line, MAX_LINE) for line in lines]


def _lines(triggers: Iterable[ScaledTrigger], connections: list[str] | None) -> list[str]:
    """A block of YAML for each trigger, in the order of the functions' names."""
    blocks = [_block({scaled.function: declared_parameters(scaled, explicit=True)}) for scaled in triggers]
    if connections:
        blocks.append(_block({"connections": sorted(connections)}))
    return [line for block in sorted(blocks) for line in block]


def _block(content: Mapping[str, Any]) -> list[str]:
    text: str = yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=math.inf)
    return text.splitlines()


def _said(file: Path, app: Deployed) -> _Said:
    found = documents(file, OPTION)
    for document in found:
        if isinstance(document.get("apps"), dict) and app.name in document["apps"]:
            return _in_values(document, app)
    ours = [document for document in found if _name(document) == app.name]
    if not any(document.get("kind") in ("Deployment", "ScaledObject") for document in ours):
        known = sorted({name for document in found for name in _names(document)})
        fix = f"It has no Deployment, ScaledObject or `apps` entry called {app.name}: name the one that is meant by --name"
        raise ConfigurationError(OPTION, str(file), f"{fix} (it has {', '.join(known) or 'none'}).")
    scaled_objects = [document for document in ours if document.get("kind") == "ScaledObject"]
    return _Said([scaled for document in scaled_objects for scaled in _in_scaled_object(document)])


def _names(document: Mapping[str, Any]) -> Iterator[str]:
    if isinstance(document.get("apps"), dict):
        yield from map(str, document["apps"])
    elif document.get("kind") in ("Deployment", "ScaledObject"):
        yield _name(document)


def _name(document: Mapping[str, Any]) -> str:
    about = document.get("metadata")
    return str(about.get("name")) if isinstance(about, dict) else ""


def _in_scaled_object(document: Mapping[str, Any]) -> Iterator[ScaledTrigger]:
    for where, trigger in external_triggers(document):
        metric_type = trigger.get("metricType", "AverageValue")
        if metric_type != "AverageValue":
            fix = "The scaler's target size is 1, by which the HPA would multiply the instances without end: remove it."
            raise ConfigurationError(f"{where}.metricType", metric_type, fix)
        yield _read(trigger["metadata"], f"{where}.metadata")


def _in_values(document: Mapping[str, Any], app: Deployed) -> _Said:
    where = f"apps.{app.name}.triggers"
    entry = document["apps"][app.name]
    triggers = entry.get("triggers") if isinstance(entry, dict) else None
    if not isinstance(triggers, dict) or not all(isinstance(trigger, dict) for trigger in triggers.values()):
        raise ConfigurationError(where, None, "It needs a type and parameters for each function.")
    connections = document.get("connections")
    return _Said(
        [_read({**trigger, "function": name}, f"{where}.{name}") for name, trigger in triggers.items()],
        [str(name).lower() for name in connections] if isinstance(connections, dict) else [],
    )


def _read(parameters: Mapping[str, Any], where: str) -> ScaledTrigger:
    try:
        return read_metadata({str(key): text_of(value) for key, value in parameters.items()})
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}.{error.field}", error.value, error.fix) from None
