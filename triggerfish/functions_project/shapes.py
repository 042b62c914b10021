"""What a parameter gets: the text or the bytes of a message, as the Redis extension passes them to Python."""

import json
from collections.abc import Mapping

from listeners.functions.entries import RedisMessage
from listeners.functions.triggers import ListTrigger, PubSubTrigger, StreamTrigger, Trigger

__all__ = ["binding_data", "data_names", "parameter_value"]

#: Characters that Json.NET escapes, and json does not.
_ESCAPED = str.maketrans({"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def parameter_value(message: RedisMessage, trigger: Trigger, *, binary: bool, preview: bool) -> str | bytes:
    """Return what a trigger's parameter gets: bytes are those of the element, or of the JSON text in UTF-8."""
    if isinstance(trigger, StreamTrigger):
        text = _json({"Id": message.id, "Values": _values(message)})
    elif isinstance(trigger, ListTrigger) or preview:
        raw = _raw(message.message)
        return raw if binary else raw.decode("utf-8", "replace")
    else:
        channels = {"SubscriptionChannel": message.pattern or message.trigger, "Channel": message.trigger}
        text = _json({**channels, "Message": _text(message.message)})
    return text.encode() if binary else text


def data_names(trigger: type[Trigger]) -> tuple[str, ...]:
    """Return the names that a command may have in braces. `Values.` is followed by the name of a field."""
    if issubclass(trigger, PubSubTrigger):
        return ("SubscriptionChannel", "Channel", "Message")
    return ("Key", "Value") if issubclass(trigger, ListTrigger) else ("Key", "Id", "Values.")


def binding_data(message: RedisMessage, trigger: Trigger) -> dict[str, str]:
    """Return what stands for the names in a command, by name in lower case. A stream's fields are also there by their
    exact names.

    Bytes that are not UTF-8 are surrogate escapes, so that a command gets them as they are.
    """
    if isinstance(trigger, PubSubTrigger):
        subscribed = message.pattern or message.trigger
        return {"subscriptionchannel": subscribed, "channel": message.trigger, "message": message.message}
    if isinstance(trigger, ListTrigger):
        return {"key": message.trigger, "value": message.message}
    fields: Mapping[str, str] = message.fields or {}
    data = {"key": message.trigger, "id": message.id or ""}
    data |= {f"values.{name.lower()}": fields[name] for name in fields}
    return data | {f"values.{name}": fields[name] for name in fields}


def _values(message: RedisMessage) -> dict[str, str]:
    """Return the fields of a stream entry; of duplicate names the last one wins."""
    return {_text(name): _text(value) for name, value in (message.fields or {}).items()}


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(text: str) -> str:
    """Return text in which bytes that are not UTF-8 are replaced, as .NET does it."""
    return text if text.isascii() else _raw(text).decode("utf-8", "replace")


def _json(value: object) -> str:
    """Return JSON exactly as Json.NET writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).translate(_ESCAPED)
