"""Reads triggers from what people write: decorators, declaration files and metadata. No I/O."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.alias_generators import to_camel

from listeners.errors import ConfigurationError
from listeners.functions.triggers import ConnectedTrigger, ListTrigger, PubSubTrigger, StreamTrigger, Trigger
from listeners.text import did_you_mean

__all__ = ["field_name", "folded", "parse_declaration", "parse_trigger"]

#: For how many unknown names a known one is suggested; a comparison with all of them takes a millisecond.
MAX_HINTS = 20
_CLASSES: tuple[type[Trigger], ...] = (PubSubTrigger, ListTrigger, StreamTrigger)
_TYPES: dict[str, type[Trigger]] = {cls.type_name.lower(): cls for cls in _CLASSES} | {
    "redisliststrigger": ListTrigger,
    "redisstreamstrigger": StreamTrigger,
}
#: Names in Azure's function.json and in KEDA's own scalers for Redis, and ours.
_OTHER_NAMES = {
    "key": "keys",
    "keys": "keys",
    "list": "keys",
    "listname": "keys",
    "stream": "keys",
    "streamname": "keys",
    "queues": "keys",
    "queuename": "keys",
    "group": "consumer_group",
    "maxworkers": "concurrency",
    "maxretries": "max_deliveries",
    "timelimit": "call_timeout_seconds",
    "softtimelimit": "call_timeout_seconds",
    "count": "batch_size",
    "maxbatchsize": "batch_size",
    "listdirection": "list_pop_from_beginning",
    "listlength": "messages_per_worker",
    "streamlength": "messages_per_worker",
    "lagcount": "messages_per_worker",
    "pendingentriescount": "messages_per_worker",
    "activationlistlength": "activationMessages",
    "activationlagcount": "activationMessages",
    "activationstreamlength": "activationMessages",
    "connectionstringsetting": "connection",
    **dict.fromkeys(
        ("address", "addresses", "host", "hosts", "port", "ports", "username", "password", "database", "databaseindex",
         "ssl", "tls", "sentinelmaster", "sentinelusername", "sentinelpassword", "ca", "cert", "keypassword"),
        "connection",
    ),
}  # fmt: skip
#: Names in function.json that need no counterpart.
_SUPERFLUOUS = ("name", "direction", "scriptfile", "entrypoint")
#: Which type of trigger a name belongs to, where the type itself is missing.
_TYPICAL: dict[str, type[Trigger]] = {
    "channel": PubSubTrigger,
    **dict.fromkeys(("listname", "listlength", "listdirection", "listpopfrombeginning", "delivery"), ListTrigger),
    **dict.fromkeys(("stream", "streamname", "streamlength", "lagcount", "consumergroup"), StreamTrigger),
}
_NOTES = {
    "connection": "Put it into a connection in the settings, and give the name of that connection as {name}.",
    "max_deliveries": "{name} counts the first call, too: 4 retries are 5 deliveries.",
    "list_pop_from_beginning": "Use {name}: true for left, false for right.",
}
#: A name of an app setting, which Azure Functions replaces by its value.
_PLACEHOLDER = re.compile(r"%[A-Za-z_][\w:.-]*%")

Spell = Callable[[str], str]
AnyTrigger = TypeVar("AnyTrigger", bound=ConnectedTrigger)


def parse_declaration(
    type_name: object, parameters: Mapping[str, Any], siblings: Iterable[str] = (), other_types: Iterable[str] = ()
) -> Trigger:
    """Create a trigger from its parameters and its type name, in any of Azure Functions' spellings and any case.

    `siblings` are the other names that may be written beside the parameters, and `other_types` further types that the
    caller knows. Raises ConfigurationError for all mistakes, with the field (as it was written, else in camelCase), the
    value and the fix.
    """
    cls = _TYPES.get(str(type_name).lower())
    if cls is not None:
        return parse_trigger(cls, parameters, to_camel, siblings)
    names = [*(known.type_name for known in _CLASSES), *other_types]
    hint = "Add it. " if type_name is None else did_you_mean(str(type_name), names)
    # Anything else may be a misplaced password or connection string.
    shown = type_name if hint or type_name == "" or re.fullmatch(r"[A-Za-z]*(Trigger|Queue)", str(type_name)) else None
    problems = [ConfigurationError("type", shown, f"{hint}Use one of {', '.join(names)}.")]
    likely = next((_TYPICAL[name] for name in map(folded, parameters) if name in _TYPICAL), None)
    if likely is not None:
        try:
            parse_trigger(likely, parameters, to_camel, siblings)
        except ConfigurationError as error:
            problems.append(error)
    raise ConfigurationError.combined(problems)


def parse_trigger(
    cls: type[AnyTrigger], parameters: Mapping[str, Any], spell: Spell = str, siblings: Iterable[str] = ()
) -> AnyTrigger:
    """Create a trigger of a class from parameters given in JSON, YAML, KEDA metadata or a decorator.

    `spell` returns how a field is spelled where the parameters come from. `siblings` are the other names that may be
    written beside them. Raises ConfigurationError for all mistakes, with the field as it was written, the value and the
    fix.
    """
    values: dict[str, Any] = {}
    spellings: dict[str, str] = {}
    problems: list[ConfigurationError] = []
    unknown: list[str] = []
    for spelling, value in ((str(given), value) for given, value in parameters.items()):
        name = field_name(cls, spelling)
        if name is None:
            unknown.append(spelling)
        elif name in values:
            problems.append(ConfigurationError(spelling, None, f"{spell(name)} is given twice: keep one."))
        else:
            values[name], spellings[name] = value, spelling
    problems += _unknown_names(cls, unknown, spell, tuple(siblings))
    explained = {_OTHER_NAMES.get(folded(name)) for name in unknown}
    for name in [name for name, value in values.items() if _has_placeholder(name, value)]:
        problems.append(_placeholder(spellings[name], name, values.pop(name)))
        explained.add(name)
    try:
        trigger = cls.model_validate(values)
    except ValidationError as error:
        written: Spell = lambda name: spellings.get(name) or spell(name)  # noqa: E731
        for problem in error.errors(include_url=False, include_input=False):
            if not (problem["type"] == "missing" and problem["loc"][0] in explained):
                problems.append(_invalid_value(cls, values, problem, written))
    if problems:
        raise ConfigurationError.combined(problems)
    return trigger


def folded(name: object) -> str:
    """Return a name without what the spellings differ in."""
    return str(name).replace("_", "").lower()


def field_name(cls: type[BaseModel], spelling: str) -> str | None:
    """Return the field with a PascalCase, camelCase or snake_case name, or None."""
    wanted = folded(spelling)
    if wanted == "pollingintervalinms":  # the name in Azure Functions
        wanted = "pollingintervalms"
    return next((name for name in cls.model_fields if folded(name) == wanted), None)


def _unknown_names(
    cls: type[ConnectedTrigger], spellings: Iterable[str], spell: Spell, siblings: tuple[str, ...]
) -> Iterator[ConfigurationError]:
    """Yield an error for each name, without its value, as an unknown option may be a misspelt password."""
    known = [*map(spell, cls.model_fields), *siblings]
    listed = False
    for number, spelling in enumerate(spellings):
        ours = _OTHER_NAMES.get(folded(spelling).removesuffix("fromenv"), "")
        ours = "queue" if ours == "keys" and "queue" in cls.model_fields else ours
        name = spell(ours) if ours in cls.model_fields else ours
        reason = f"A {cls.type_name} has no such option."
        if name in known:
            fix = f"Did you mean {name}? {_NOTES.get(ours, reason).format(name=name)}"
        elif folded(spelling) in _SUPERFLUOUS:
            fix = f"{reason} Remove it: nothing depends on it here."
        elif number >= MAX_HINTS:
            fix = reason
        elif listed:
            fix = f"{did_you_mean(spelling, known)}{reason}"
        else:
            fix = f"{reason} {did_you_mean(spelling, known)}Use one of {', '.join(known)}."
            listed = True
        yield ConfigurationError(spelling, None, fix)


def _has_placeholder(name: str, value: object) -> bool:
    if name == "connection_string":  # which may contain percent-encoded bytes, and passwords with anything
        return isinstance(value, str) and _PLACEHOLDER.fullmatch(value.strip()) is not None
    parts = value if isinstance(value, list | tuple) else (value,)
    return any(isinstance(part, str) and _PLACEHOLDER.search(part) for part in parts)


def _placeholder(spelling: str, name: str, value: object) -> ConfigurationError:
    fix = (
        "Only Azure Functions replaces placeholders such as %NAME% by app settings. Write the value itself. "
        "Python code can read os.environ, and a ScaledObject can have xFromEnv."
    )
    return ConfigurationError(spelling, "***" if name == "connection_string" else value, fix)


def _invalid_value(
    cls: type[ConnectedTrigger], values: Mapping[str, Any], problem: Mapping[str, Any], spell: Spell
) -> ConfigurationError:
    name = str(problem["loc"][0]) if problem["loc"] else "connection"
    field = cls.model_fields[name]
    meaning = f"{spell(name)} is {field.description}"
    if problem["type"] == "missing":
        return ConfigurationError(spell(name), None, f"A {cls.type_name} needs it: {meaning}.")
    # A rejected connection name may be a misplaced connection string.
    value = values.get(name)
    is_blank = isinstance(value, str) and not value.strip()
    rejected_name = name == "connection" and bool(problem["loc"]) and not is_blank
    secret = name == "connection_string" or rejected_name
    shown = "***" if secret else value
    reason = problem["msg"].removeprefix("Value error, ").replace("connection_string", spell("connection_string"))
    hint = ""
    if isinstance(shown, str) and problem["type"] == "literal_error":
        hint = did_you_mean(shown, _choices(field.annotation))
    return ConfigurationError(spell(name), shown, f"{hint}{reason[:1].upper()}{reason[1:]} ({meaning}).")


def _choices(annotation: object) -> Iterator[str]:
    """Yield the texts of a Literal, which may be optional."""
    for argument in get_args(annotation):
        if isinstance(argument, str):
            yield argument
        else:
            yield from _choices(argument)
