"""The trigger of a function, from the names and defaults of all versions of the Redis extension."""

from collections.abc import Mapping
from typing import Any

from pydantic.alias_generators import to_camel

from listeners.errors import AppLoadError, ConfigurationError
from listeners.functions.declarations import parse_trigger
from listeners.functions.triggers import ListTrigger, PolledTrigger, PubSubTrigger, StreamTrigger, Trigger
from listeners.text import did_you_mean
from triggerfish.functions_project.app_settings import AppSettings
from triggerfish.functions_project.bindings import RedisFunction
from triggerfish.functions_project.definitions import log
from triggerfish.functions_project.host_file import HostFile, deliveries_of

__all__ = ["CONNECTION_NAMES", "trigger_of"]

#: The default of maxBatchSize, which is also the backlog for each instance.
MAX_BATCH_SIZE = 16
CONNECTION_NAMES = {"connection": "connection", "connectionstringsetting": "connection"}
_CONNECTION = {**CONNECTION_NAMES, "connectionstring": "connection_string"}
_POLLED = {
    **_CONNECTION,
    "key": "keys",
    "keys": "keys",
    "pollingintervalinms": "polling_interval_ms",
    "maxbatchsize": "batch_size",
    "count": "batch_size",
    "batchsize": "batch_size",
    "messagesperworker": "messages_per_worker",
}
_NAMES: dict[type[Trigger], dict[str, str]] = {
    PubSubTrigger: {**_CONNECTION, "channel": "channel", "pattern": "pattern"},
    ListTrigger: {
        **_POLLED,
        "listdirection": "list_pop_from_beginning",
        "listpopfrombeginning": "list_pop_from_beginning",
    },
    StreamTrigger: {**_POLLED, "consumergroup": "consumer_group", "deleteafterprocess": "delete_after_process"},
}
#: How the names are written where an error suggests one.
_SPELLINGS = (
    "connection", "connectionStringSetting", "key", "keys", "pollingIntervalInMs", "maxBatchSize", "count",
    "messagesPerWorker", "listDirection", "listPopFromBeginning", "consumerGroup", "deleteAfterProcess", "channel",
    "pattern",
)  # fmt: skip
#: How the names are written that are missing.
_TO_SPELLING = {"keys": "key", "batch_size": "maxBatchSize", "polling_interval_ms": "pollingIntervalInMs"}
_DIRECTIONS = {"left": True, "right": False}


def trigger_of(function: RedisFunction, settings: AppSettings, host_file: HostFile) -> Trigger:
    """Return a function's trigger. Raises ConfigurationError for all mistakes."""
    cls, field = function.trigger_class, function.field
    written: dict[str, str] = {}
    values: dict[str, Any] = {"call_timeout_seconds": host_file.call_timeout_seconds}
    problems: list[ConfigurationError] = []
    for spelling, given in function.trigger.options.items():
        try:
            name = _name(cls, field, spelling, written)
            values[name] = _value(f"{field}.{spelling}", spelling, given, settings)
        except ConfigurationError as error:
            problems.append(error)
    values = {**_defaults(function, settings), **values}
    if issubclass(cls, PubSubTrigger):
        _warn_of_retry(function)
    else:
        values |= _retries(function, host_file, problems)
    if not {"connection", "connection_string"} & written.keys():
        fix = "Give the name of the app setting with the connection string."
        problems.append(AppLoadError(f"{field}.connection", None, fix))
    trigger = _parsed(cls, function, values, written, problems)
    if trigger is None or problems:
        raise ConfigurationError.combined(problems)
    if isinstance(trigger, PolledTrigger) and "messages_per_worker" not in values and not settings.is_preview:
        return trigger.model_copy(update={"messages_per_worker": trigger.batch_size})
    return trigger


def _defaults(function: RedisFunction, settings: AppSettings) -> dict[str, Any]:
    """Return the defaults that differ from ours."""
    if issubclass(function.trigger_class, PubSubTrigger):
        return {} if settings.is_preview else {"pattern": False}
    defaults: dict[str, Any] = {} if settings.is_preview else {"batch_size": MAX_BATCH_SIZE}
    if issubclass(function.trigger_class, StreamTrigger):
        defaults["consumer_group"] = function.definition.name
    return defaults


def _parsed(
    cls: type[Trigger],
    function: RedisFunction,
    values: Mapping[str, Any],
    written: Mapping[str, str],
    problems: list[ConfigurationError],
) -> Trigger | None:
    """Return the trigger; None if there are problems, which show options as they are written: an app setting that
    stands in one may be secret.
    """
    spellings = {**_TO_SPELLING, **written}
    try:
        return parse_trigger(cls, values, lambda name: spellings.get(name, to_camel(name)))
    except ConfigurationError as error:
        known = {one.field for one in problems}
        for one in (error, *error.others):
            spelling = spellings.get(one.field, one.field)
            name = f"{function.field}.{spelling}"
            shown = one.value
            if shown is not None and spelling.lower() not in _CONNECTION:
                shown = function.trigger.options.get(spelling, shown)
            if name not in known:  # an option that could not be read is not missing
                problems.append(AppLoadError(name, shown, one.fix))
        return None


def _name(cls: type[Trigger], field: str, spelling: str, written: dict[str, str]) -> str:
    """Return our name of an option, and note how it is written."""
    names = _NAMES[cls]
    name = names.get(spelling.lower())
    if name is None:
        known = [one for one in _SPELLINGS if one.lower() in names]
        fix = f"A {cls.type_name} has no such option. {did_you_mean(spelling, known)}Use one of {', '.join(known)}."
        raise AppLoadError(f"{field}.{spelling}", None, fix)
    if name in written:
        raise AppLoadError(f"{field}.{spelling}", None, f"It means the same as {written[name]}. Keep one.")
    written[name] = spelling
    return name


def _value(field: str, spelling: str, given: Any, settings: AppSettings) -> Any:
    """Return an option's value with those of app settings. Raises AppLoadError."""
    value = settings.resolved(field, given)
    if spelling.lower() == "key":  # one key, which may contain spaces
        return [value]
    if spelling.lower() == "listdirection":
        direction = _DIRECTIONS.get(str(value).lower())
        if direction is None:
            raise AppLoadError(field, given, "Give LEFT or RIGHT.")
        return direction
    return value


def _retries(function: RedisFunction, host_file: HostFile, problems: list[ConfigurationError]) -> dict[str, int]:
    """Return how often an entry is delivered, if the function or the project has a retry policy."""
    deliveries = host_file.max_deliveries
    if function.definition.retry is not None:
        try:
            deliveries = deliveries_of(f"{function.field}.retry", function.definition.retry)
        except ConfigurationError as error:
            problems.append(error)
    return {"max_deliveries": deliveries} if deliveries is not None else {}


def _warn_of_retry(function: RedisFunction) -> None:
    if function.definition.retry is not None:
        log.warning("%s: its retry policy has no effect: pub/sub messages are not kept", function.definition.name)
