"""What the bindings of a function are: its trigger, and the commands around its calls."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from listeners.errors import AppLoadError, ConfigurationError
from listeners.functions.triggers import ListTrigger, PubSubTrigger, StreamTrigger, Trigger
from listeners.text import did_you_mean
from triggerfish.functions_project.definitions import Definition

__all__ = ["RETURN", "Binding", "RedisFunction", "redis_function"]

#: The name of the binding that takes what a function returns.
RETURN = "$return"
COMMAND = "redis"
TRIGGERS: dict[str, type[Trigger]] = {
    "redislisttrigger": ListTrigger,
    "redisstreamtrigger": StreamTrigger,
    "redispubsubtrigger": PubSubTrigger,
    # The plural names of the first preview.
    "redisliststrigger": ListTrigger,
    "redisstreamstrigger": StreamTrigger,
}
NAMES = ("redisListTrigger", "redisStreamTrigger", "redisPubSubTrigger", "redis")
DURABLE = ("orchestrationtrigger", "activitytrigger", "entitytrigger", "durableclient", "orchestrationclient")
#: Names of a binding that are not options of what it binds.
GENERAL = ("type", "name", "direction", "datatype", "cardinality")


@dataclass(frozen=True)
class Binding:
    """One binding. `options` are the properties that depend on its type, as they are written."""

    type: str
    name: str
    is_output: bool
    is_binary: bool
    options: Mapping[str, Any]

    @property
    def is_trigger(self) -> bool:
        """Whether it calls the function."""
        return self.type.lower().endswith("trigger")


@dataclass(frozen=True)
class RedisFunction:
    """A function with a Redis trigger, and the commands around its calls."""

    definition: Definition
    trigger_class: type[Trigger]
    trigger: Binding
    inputs: tuple[Binding, ...]
    outputs: tuple[Binding, ...]

    @property
    def field(self) -> str:
        """How errors refer to the function."""
        return f"functions.{self.definition.name}"

    @property
    def parameters(self) -> tuple[Binding, ...]:
        """The bindings that are parameters."""
        return (self.trigger, *self.inputs, *(one for one in self.outputs if one.name != RETURN))


def redis_function(definition: Definition) -> RedisFunction | str:
    """Return a function with a Redis trigger, or the type of another trigger.

    Raises ConfigurationError for all mistakes in its bindings.
    """
    field = f"functions.{definition.name}"
    bindings = _bindings(field, definition.bindings)
    triggers = [one for one in bindings if one.is_trigger]
    durable = [one.type for one in bindings if one.type.lower() in DURABLE]
    if durable:
        fix = "Durable Functions do not run here. Disable the function, or list others under functions in host.json."
        raise AppLoadError(f"{field}.type", durable[0], fix)
    if len(triggers) != 1:
        types = ", ".join(one.type for one in triggers or bindings) or None
        fix = f"A function has one trigger. Give it one of {', '.join(NAMES[:-1])}."
        raise AppLoadError(f"{field}.bindings", types, fix)
    [trigger] = triggers
    trigger_class = TRIGGERS.get(trigger.type.lower())
    if trigger_class is None:
        _check_foreign(field, trigger.type)
        return trigger.type
    _check_others(field, bindings, trigger)
    inputs = tuple(one for one in bindings if one is not trigger and not one.is_output)
    outputs = tuple(one for one in bindings if one.is_output)
    return RedisFunction(definition, trigger_class, trigger, inputs, outputs)


def _bindings(field: str, declared: object) -> list[Binding]:
    if not isinstance(declared, list) or not declared:
        raise AppLoadError(f"{field}.bindings", None, "Give it a list of bindings, of which one is the trigger.")
    problems: list[ConfigurationError] = []
    bindings: list[Binding] = []
    for number, one in enumerate(declared):
        try:
            bindings.append(_binding(f"{field}.bindings[{number}]", one))
        except ConfigurationError as error:
            problems.append(error)
    names = [one.name for one in bindings]
    fix = "Two bindings have this name. Rename one."
    problems += [AppLoadError(f"{field}.bindings", name, fix) for name in sorted(set(names)) if names.count(name) > 1]
    if problems:
        raise ConfigurationError.combined(problems)
    return bindings


def _binding(field: str, declared: object) -> Binding:
    if not isinstance(declared, dict):
        raise AppLoadError(field, None, "A binding is an object with a type, a name and a direction.")
    general = {key.lower(): value for key, value in declared.items() if key.lower() in GENERAL}
    options = {key: value for key, value in declared.items() if key.lower() not in GENERAL}
    for key in ("type", "name"):
        if not isinstance(general.get(key), str) or not general[key]:
            raise AppLoadError(f"{field}.{key}", None, f"A binding needs a {key}, as text.")
    type_name, name = general["type"], general["name"]
    if name != RETURN and not name.isidentifier():
        fix = f"A binding has the name of the function's parameter, such as entry, or {RETURN}. Give such a name."
        raise AppLoadError(f"{field}.name", None, fix)  # without the name: it may be a misplaced connection string
    direction = str(general.get("direction", "in" if type_name.lower().endswith("trigger") else "")).lower()
    if direction not in ("in", "out"):
        raise AppLoadError(f"{field}.direction", general.get("direction"), "Give in or out.")
    if name == RETURN and direction != "out":
        raise AppLoadError(f"{field}.direction", direction, f"{RETURN} is an output. Give out.")
    data_type = _word(general, "datatype", "string")
    if data_type not in ("string", "binary", "undefined"):
        raise AppLoadError(f"{field}.dataType", general["datatype"], "Give string or binary.")
    cardinality = _word(general, "cardinality", "one")
    if cardinality != "one":
        fix = "A function in Python is called for one entry. Give one, or leave it out."
        raise AppLoadError(f"{field}.cardinality", general["cardinality"], fix)
    return Binding(type_name, name, direction == "out", data_type == "binary", options)


def _word(general: Mapping[str, Any], key: str, default: str) -> str:
    given = general.get(key)
    return default if given is None else str(given).lower()


def _check_foreign(field: str, type_name: str) -> None:
    """Raise AppLoadError for the name of a trigger that is likely to be a misspelt Redis trigger."""
    hint = did_you_mean(type_name, NAMES[:-1])
    if "redis" in type_name.lower() or hint:
        raise AppLoadError(f"{field}.type", type_name, f"{hint}Use one of {', '.join(NAMES[:-1])}.")


def _check_others(field: str, bindings: list[Binding], trigger: Binding) -> None:
    """Raise AppLoadError for other bindings than commands of Redis, without which the function would run half."""
    problems: list[ConfigurationError] = []
    if trigger.is_output:
        problems.append(AppLoadError(f"{field}.{trigger.name}.direction", "out", "A trigger is an input. Give in."))
    for one in bindings:
        if one is not trigger and one.type.lower() != COMMAND:
            hint = did_you_mean(one.type, NAMES) if re.match("redis", one.type, re.IGNORECASE) else ""
            fix = (
                f"{hint}Beside its trigger, a function can have bindings of the type redis only, and does not run "
                "without this one. Do its work in code, or disable the function."
            )
            problems.append(AppLoadError(f"{field}.{one.name}.type", one.type, fix))
    if problems:
        raise ConfigurationError.combined(problems)
