"""Makes the entry that a trigger would deliver from what a test gives, and finds the function it is for."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from listeners.errors import ConfigurationError
from listeners.functions.app import App, Function
from listeners.functions.entries import Entry, RedisMessage
from listeners.functions.triggers import PubSubTrigger, StreamTrigger
from listeners.text import did_you_mean

__all__ = ["TestEntry", "entry_for", "function_of"]

#: A list element or a message as text or bytes, a stream entry as its fields (text, bytes or numbers), or any of them
#: as a RedisMessage.
TestEntry = str | bytes | Mapping[str, Any] | Mapping[bytes, Any] | RedisMessage


def function_of(app: App, function: str | Callable[..., Any]) -> Function:
    """Return a function of an app, by its name or as the function itself. Raises ConfigurationError."""
    if isinstance(function, str):
        if function in app.functions:
            return app.functions[function]
        fix = f"{did_you_mean(function, app.functions)}The app has {', '.join(app.functions) or 'no functions'}."
        raise ConfigurationError("function", function, fix)
    found = [each for each in app.functions.values() if each.handler is function]
    if len(found) == 1:
        return found[0]
    if found:
        fix = f"It has several triggers. Give the name of one: {', '.join(each.name for each in found)}."
    else:
        fix = f"It is not what the app calls. Give the name of one of its functions: {', '.join(app.functions)}."
    raise ConfigurationError("function", function, fix)


def entry_for(function: Function, given: TestEntry, deliveries: int | None = None) -> Entry:
    """Return an entry of a function's trigger. Raises ConfigurationError for what its trigger cannot deliver."""
    if deliveries is None:
        deliveries = given.deliveries if isinstance(given, RedisMessage) else 1
    _check_deliveries(function, deliveries)
    if isinstance(function.trigger, StreamTrigger):
        return _stream_entry(function, function.trigger, given, deliveries)
    if isinstance(given, Mapping):
        fix = f"{function.name} has a {function.trigger.type_name}, whose entries have no fields. Give str or bytes."
        raise ConfigurationError("entry", dict(given), fix)
    payload = given.message if isinstance(given, RedisMessage) else given
    if not isinstance(payload, str | bytes):
        fix = f"{function.name} has a {function.trigger.type_name}. Give str or bytes, such as json.dumps(...)."
        raise ConfigurationError("entry", payload, fix)
    if isinstance(function.trigger, PubSubTrigger):
        return _message(function.trigger, given, _encoded(payload))
    return Entry(_key(function.trigger.keys, given), payload=_encoded(payload), deliveries=deliveries)


def _message(trigger: PubSubTrigger, given: TestEntry, payload: bytes) -> Entry:
    message = given if isinstance(given, RedisMessage) else None
    if trigger.is_pattern and message is None:
        fix = "The function's channel is a pattern. Give RedisMessage(trigger=CHANNEL, message=TEXT)."
        raise ConfigurationError("entry", given, fix)
    channel = message.trigger if message is not None else trigger.channel
    if not trigger.is_pattern and channel != trigger.channel:
        raise ConfigurationError("entry.trigger", channel, f"The function's channel is {trigger.channel}. Use it.")
    epoch = message.epoch if message is not None else None
    if trigger.singleton and epoch is None:  # every call has the token of the lease
        epoch = 1
    return Entry(channel, payload=payload, pattern=trigger.channel if trigger.is_pattern else None, epoch=epoch)


def _stream_entry(function: Function, trigger: StreamTrigger, given: TestEntry, deliveries: int) -> Entry:
    if isinstance(given, RedisMessage):
        pairs = given.fields.pairs() if given.fields is not None else ()
    elif isinstance(given, Mapping):
        pairs = tuple((_encoded(name), _encoded(value)) for name, value in given.items())
    else:
        pairs = ()
    if not pairs:
        fix = f"{function.name} has a {trigger.type_name}. Give the fields of an entry, such as {{'number': '1'}}."
        raise ConfigurationError("entry", given, fix)
    return Entry(
        _key(trigger.keys, given),
        flat_fields=[part for pair in pairs for part in pair],
        id=(given.id if isinstance(given, RedisMessage) else None) or f"{time.time_ns() // 1_000_000}-0",
        deliveries=deliveries,
    )


def _key(keys: tuple[str, ...], given: TestEntry) -> str:
    if not isinstance(given, RedisMessage):
        return keys[0]
    if given.trigger not in keys:
        raise ConfigurationError("entry.trigger", given.trigger, f"The function reads {', '.join(keys)}. Use one.")
    return given.trigger


def _check_deliveries(function: Function, deliveries: int) -> None:
    if deliveries < 1:
        raise ConfigurationError("deliveries", deliveries, "Deliveries are counted from 1. Give 1 or more.")
    if deliveries > 1 and isinstance(function.trigger, PubSubTrigger):
        raise ConfigurationError("deliveries", deliveries, "Redis delivers a message once. Leave it out.")


def _encoded(value: object) -> bytes:
    """Return a value as redis-py sends it. Surrogate escapes become the bytes that they stand for."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ConfigurationError("entry", value, "Redis keeps text and numbers. Give str, bytes, int or float.")
    return str(value).encode("utf-8", "surrogateescape")
