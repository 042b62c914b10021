"""The triggers of an app, and their metadata for KEDA. No I/O."""

import re
from collections.abc import Iterable, Iterator

from listeners.connections.named import Connections
from listeners.errors import ConfigurationError
from listeners.functions.app import App
from listeners.functions.triggers import PubSubTrigger, Trigger
from scaler.queues.trigger import QueueTrigger
from scaler.triggers.metadata import ScaledTrigger, read_metadata
from scaler.triggers.owner import Owner

__all__ = [
    "app_triggers",
    "check_connections",
    "declared_parameters",
    "declared_triggers",
    "metadata_of",
    "only_pubsub",
    "text_of",
]

#: The parameters that affect scaling. The others concern only the host.
SCALING_PARAMETERS = ("connection", "keys", "channel", "pattern", "consumer_group", "messages_per_worker", "delivery")
#: The parameters that a ScaledObject contains even at their defaults, because people expect them there.
ALWAYS_WRITTEN = ("consumer_group", "messages_per_worker")


def declared_triggers(app: App, max_instances: int | None = None) -> list[ScaledTrigger]:
    """Return the triggers of an app in the order of declaration.

    Raises ConfigurationError for a trigger that cannot be written into a ScaledObject. It names the function, the
    parameter and the fix.
    """
    triggers = list(app_triggers(app, max_instances).values())
    for scaled in triggers:
        _check_writable(scaled)
        metadata_of(scaled, "")
    return triggers


def only_pubsub(triggers: Iterable[ScaledTrigger]) -> bool:
    """Return whether all triggers are pub/sub triggers, which have no backlog to scale by."""
    return all(isinstance(scaled.trigger, PubSubTrigger) for scaled in triggers)


def declared_parameters(scaled: ScaledTrigger, *, explicit: bool) -> dict[str, str | int | bool]:
    """Return the type and the parameters that affect scaling, in camelCase.

    Default values are left out, except those in ALWAYS_WRITTEN if `explicit`. The value of `xFromEnv` is the name of a
    variable.
    """
    return {"type": scaled.trigger.type_name, **dict(_parameters(scaled, explicit))}


def metadata_of(scaled: ScaledTrigger, scaler_address: str) -> dict[str, str]:
    """Return the metadata of the external trigger, which read_metadata reads back.

    Raises ConfigurationError if the scaler would reject it.
    """
    parameters = {name: text_of(value) for name, value in declared_parameters(scaled, explicit=True).items()}
    kind = parameters.pop("type")
    metadata = {"scalerAddress": scaler_address, "type": kind, "function": scaled.function, "app": scaled.app}
    metadata |= parameters
    if scaled.max_instances is not None and not isinstance(scaled.trigger, PubSubTrigger):
        metadata["maxInstances"] = str(scaled.max_instances)
    try:
        read_metadata(metadata)
    except ConfigurationError as error:
        raise ConfigurationError.within(scaled.function, error) from None
    return metadata


def text_of(value: object) -> str:
    """Return a value as text for metadata."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _parameters(scaled: ScaledTrigger, explicit: bool) -> Iterator[tuple[str, str | int | bool]]:
    if scaled.trigger.connection_string is not None:  # only in a ScaledObject from a file, and never shown
        yield "connectionString", "***"
    fields = type(scaled.trigger).model_fields
    for name in SCALING_PARAMETERS:
        if name not in fields:
            continue
        value = getattr(scaled.trigger, name)
        if value == fields[name].default and not (explicit and name in ALWAYS_WRITTEN):
            continue
        key = re.sub(r"_(\w)", lambda match: match[1].upper(), name)
        key += "FromEnv" if key.lower() in scaled.from_env else ""
        yield key, text_of(value) if name == "keys" else value


def _check_writable(scaled: ScaledTrigger) -> None:
    trigger, function = scaled.trigger, scaled.function
    if trigger.connection_string is not None:
        raise ConfigurationError(
            f"{function}.connection_string",
            None,
            "It may contain a password, which does not belong in a ScaledObject. Name a connection instead, such as "
            'connection="cache", and define it in the settings of the app and of the scaler.',
        )
    if trigger.connection is not None and not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}", trigger.connection):
        raise ConfigurationError(
            f"{function}.connection",
            trigger.connection,
            "It is not a valid key of a Secret. Use letters, digits, '-', '_' and '.', and do not start with '.'.",
        )
    for key in () if isinstance(trigger, PubSubTrigger) else trigger.keys:
        if key.split() != [key]:
            fix = "Spaces separate keys in metadata, so this key would be split. Rename it."
            raise ConfigurationError(f"{function}.keys", key, fix)
    for name, value in (("name", function), ("app", scaled.app), *_texts(trigger)):
        if not _is_unicode(value):
            fix = "Kubernetes accepts only Unicode text, and this contains other bytes. Rename it."
            raise ConfigurationError(f"{function}.{name}", value, fix)


def _texts(trigger: Trigger | QueueTrigger) -> Iterator[tuple[str, str]]:
    for name in SCALING_PARAMETERS:
        value = getattr(trigger, name, None)
        if isinstance(value, str | tuple):
            yield name, text_of(value)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def app_triggers(app: App, max_instances: int | None) -> dict[Owner, ScaledTrigger]:
    """Return the triggers of an app on this machine by owner, one for each function."""
    return {
        Owner("", name, declared=True): ScaledTrigger(function.trigger, name, app.name, max_instances=max_instances)
        for name, function in app.functions.items()
    }


def check_connections(app: App, connections: Connections) -> None:
    """Raise ConfigurationError, which names the function, if the connection of one does not exist or is unusable."""
    for name, function in app.functions.items():
        connections.resolve_for(name, function.trigger)
