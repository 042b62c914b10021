"""Trigger parameters: every spelling, default and limit."""

from typing import Any

import pytest
from pydantic import SecretStr

from listeners.errors import ConfigurationError
from listeners.functions.declarations import parse_declaration, parse_trigger
from listeners.functions.triggers import (
    ListTrigger,
    PubSubTrigger,
    StreamTrigger,
    Trigger,
)
from tests.listeners.functions.trigger_errors import parse_error, required

PARAMETERS: list[tuple[type[Trigger], str, str, Any, Any]] = [
    (ListTrigger, "ConnectionString", "connection_string", "cache:6380", SecretStr("cache:6380")),
    (ListTrigger, "Connection", "connection", "cache", "cache"),
    (ListTrigger, "Keys", "keys", "a  b", ("a", "b")),
    (ListTrigger, "PollingIntervalInMs", "polling_interval_ms", "250", 250),
    (ListTrigger, "PollingIntervalMs", "polling_interval_ms", 250, 250),
    (ListTrigger, "MessagesPerWorker", "messages_per_worker", "7", 7),
    (ListTrigger, "BatchSize", "batch_size", "3", 3),
    (ListTrigger, "Concurrency", "concurrency", "10000", 10_000),
    (ListTrigger, "BatchWindowMs", "batch_window_ms", "300000", 300_000),
    (ListTrigger, "ListPopFromBeginning", "list_pop_from_beginning", "false", False),
    (ListTrigger, "Delivery", "delivery", "at-most-once", "at-most-once"),
    (ListTrigger, "MaxDeliveries", "max_deliveries", "2", 2),
    (ListTrigger, "CallTimeoutSeconds", "call_timeout_seconds", "2.5", 2.5),
    (StreamTrigger, "ConnectionString", "connection_string", "cache:6380", SecretStr("cache:6380")),
    (StreamTrigger, "Keys", "keys", ["a", "b"], ("a", "b")),
    (StreamTrigger, "PollingIntervalInMs", "polling_interval_ms", 250, 250),
    (StreamTrigger, "MessagesPerWorker", "messages_per_worker", 7, 7),
    (StreamTrigger, "BatchSize", "batch_size", 3, 3),
    (StreamTrigger, "Concurrency", "concurrency", None, None),
    (StreamTrigger, "BatchWindowMs", "batch_window_ms", 0, 0),
    (StreamTrigger, "ConsumerGroup", "consumer_group", "billing", "billing"),
    (StreamTrigger, "DeleteAfterProcess", "delete_after_process", "True", True),
    (StreamTrigger, "MaxDeliveries", "max_deliveries", 2, 2),
    (StreamTrigger, "CallTimeoutSeconds", "call_timeout_seconds", 86_400, 86_400.0),
    (PubSubTrigger, "ConnectionString", "connection_string", "cache:6380", SecretStr("cache:6380")),
    (PubSubTrigger, "Channel", "channel", "news", "news"),
    (PubSubTrigger, "Pattern", "pattern", "true", True),
    (PubSubTrigger, "Singleton", "singleton", "false", False),
    (PubSubTrigger, "Concurrency", "concurrency", "1000", 1000),
    (PubSubTrigger, "CallTimeoutSeconds", "call_timeout_seconds", "60", 60.0),
]
DEFAULTS = [
    (
        ListTrigger,
        {
            "connection_string": None,
            "connection": None,
            "call_timeout_seconds": 1800,
            "polling_interval_ms": 1000,
            "messages_per_worker": 100,
            "batch_size": 10,
            "concurrency": None,
            "batch_window_ms": 0,
            "max_deliveries": 5,
            "list_pop_from_beginning": True,
            "delivery": "at-least-once",
        },
    ),
    (
        StreamTrigger,
        {
            "connection_string": None,
            "connection": None,
            "call_timeout_seconds": 1800,
            "polling_interval_ms": 1000,
            "messages_per_worker": 100,
            "batch_size": 10,
            "concurrency": None,
            "batch_window_ms": 0,
            "max_deliveries": 5,
            "consumer_group": "AzureFunctionRedisExtension",
            "delete_after_process": False,
        },
    ),
    (
        PubSubTrigger,
        {
            "connection_string": None,
            "connection": None,
            "call_timeout_seconds": 1800,
            "pattern": None,
            "singleton": True,
            "concurrency": 1,
        },
    ),
]
TYPE_NAMES = [
    ("RedisPubSubTrigger", PubSubTrigger),
    ("RedisListTrigger", ListTrigger),
    ("RedisListsTrigger", ListTrigger),
    ("RedisStreamTrigger", StreamTrigger),
    ("RedisStreamsTrigger", StreamTrigger),
]


@pytest.mark.parametrize("form", ["pascal", "camel", "snake"])
@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: f"{parameter[0].kind}-{parameter[1]}")
def test_every_parameter_in_every_spelling(parameter: tuple[type[Trigger], str, str, Any, Any], form: str) -> None:
    """A parameter is accepted in PascalCase, camelCase and snake_case, and its text is converted to its type."""
    cls, pascal, name, given, expected = parameter
    spelling = {"pascal": pascal, "camel": pascal[0].lower() + pascal[1:], "snake": name}[form]
    needed = {key: value for key, value in required(cls).items() if key != name}
    assert getattr(parse_trigger(cls, {**needed, spelling: given}), name) == expected


@pytest.mark.parametrize(("cls", "defaults"), DEFAULTS)
def test_defaults(cls: type[Trigger], defaults: dict[str, object]) -> None:
    """Omitted parameters have the documented defaults, and every optional parameter has a documented default."""
    needed = required(cls)
    declared = parse_trigger(cls, needed).model_dump()
    assert {name: value for name, value in declared.items() if name not in needed} == defaults


@pytest.mark.parametrize("change", [str, str.lower, str.upper, lambda name: name[0].lower() + name[1:]])
@pytest.mark.parametrize(("name", "cls"), TYPE_NAMES)
def test_type_names(name: str, cls: type[Trigger], change: Any) -> None:
    """A type name is accepted in the singular and the plural, in any case."""
    assert type(parse_declaration(change(name), required(cls))) is cls


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("RedisSetTrigger", True),
        ("kafkaTrigger", True),
        ("RedisList", True),
        ("", True),
        ("hunter2", False),
        ("h:1,hunter2", False),
        (None, False),
        (5, False),
    ],
)
def test_unknown_type_names(name: object, shown: bool) -> None:
    """An unknown type is rejected, and the error lists the known ones. It shows only what resembles a type, as anything
    else may be a misplaced password.
    """
    with pytest.raises(ConfigurationError) as caught:
        parse_declaration(name, {"keys": "k"})
    assert (caught.value.field, caught.value.value) == ("type", name if shown else None)
    assert "RedisPubSubTrigger, RedisListTrigger, RedisStreamTrigger" in caught.value.fix


@pytest.mark.parametrize(
    "keys",
    [
        "",
        "  ",
        "\t\n",
        [],
        [""],
        ["a", " "],
        "a b a",
        ["a", "a"],
        5,
        None,
        {"a": 1},
        [1],
        b"k",
        [str(n) for n in range(101)],
    ],
)
@pytest.mark.parametrize("cls", [ListTrigger, StreamTrigger])
def test_invalid_keys(cls: type[Trigger], keys: object) -> None:
    """Keys that are missing, blank, repeated, too many or not text are rejected with the field and the value."""
    error = parse_error(cls, keys=keys)
    assert (error.field, error.value) == ("keys", keys)
    assert "keys is the list of keys to read" in error.fix


@pytest.mark.parametrize(
    ("cls", "field", "value"),
    [
        (PubSubTrigger, "channel", ""),
        (PubSubTrigger, "channel", "  "),
        (PubSubTrigger, "channel", 5),
        (PubSubTrigger, "channel", "__keyspace@0__:triggerfish:{orders}:dead"),
        (PubSubTrigger, "pattern", "perhaps"),
        (PubSubTrigger, "singleton", 2),
        (PubSubTrigger, "connection", ""),
        (ListTrigger, "connection", " "),
        (ListTrigger, "list_pop_from_beginning", "left"),
        (ListTrigger, "delivery", "exactly-once"),
        (StreamTrigger, "connection", ""),
        (StreamTrigger, "consumer_group", ""),
        (StreamTrigger, "consumer_group", " "),
        (StreamTrigger, "consumer_group", None),
        (StreamTrigger, "delete_after_process", "later"),
    ],
)
def test_other_invalid_values(cls: type[Trigger], field: str, value: object) -> None:
    """A blank or invalid value is rejected with its field, the value and the meaning of the field."""
    if value is None and cls.model_fields[field].default is None:
        pytest.skip("it is what the parameter is without a value")
    error = parse_error(cls, **{**required(cls), field: value})
    assert (error.field, error.value) == (field, value)
    assert f"{field} is " in error.fix


@pytest.mark.parametrize(("cls", "field"), [(ListTrigger, "keys"), (StreamTrigger, "keys"), (PubSubTrigger, "channel")])
def test_required_parameters(cls: type[Trigger], field: str) -> None:
    """A trigger without keys or channel is rejected, and the error names the trigger that needs them."""
    error = parse_error(cls)
    assert error.field == field
    assert error.fix.startswith(f"A {cls.type_name} needs it")


@pytest.mark.parametrize("cls", [ListTrigger, StreamTrigger, PubSubTrigger])
def test_unknown_options(cls: type[Trigger]) -> None:
    """An unknown option is rejected with its name, but not its value, which may be a secret."""
    error = parse_error(cls, **required(cls), Pasword="hunter2")
    assert error.field == "Pasword"
    assert "hunter2" not in str(error) + repr(error)
    assert all(name in error.fix for name in cls.model_fields)


@pytest.mark.parametrize(
    ("cls", "option"), [(PubSubTrigger, "keys"), (PubSubTrigger, "batchSize"), (ListTrigger, "consumerGroup")]
)
def test_options_of_other_triggers(cls: type[Trigger], option: str) -> None:
    """An option of another type of trigger is unknown."""
    assert parse_error(cls, **required(cls), **{option: "5"}).field == option


def test_names_that_are_not_text() -> None:
    """A name that YAML does not read as text (`on` means true) is rejected as an unknown option."""
    declaration: dict[Any, Any] = {"keys": "k", True: 1}
    with pytest.raises(ConfigurationError, match=r"^True: A RedisListTrigger has no such option"):
        parse_trigger(ListTrigger, declaration)


def test_an_option_given_twice() -> None:
    """A parameter in two spellings is rejected, and the error names the second spelling and the parameter."""
    error = parse_error(ListTrigger, keys="k", BatchSize=1, batch_size=2)
    assert error.field == "batch_size"
    assert error.fix == "batch_size is given twice: keep one."


@pytest.mark.parametrize("cls", [ListTrigger, StreamTrigger, PubSubTrigger])
def test_connection_and_connection_string(cls: type[Trigger]) -> None:
    """A named connection and a connection string exclude each other, and the error shows only the name."""
    error = parse_error(cls, **required(cls), connection="cache", connection_string="h:1,password=hunter2")
    assert (error.field, error.value) == ("connection", "cache")
    assert "exclude each other" in error.fix
    assert "hunter2" not in str(error)


@pytest.mark.parametrize("value", ["", "  ", 5, ["redis://:hunter2@h"]])
def test_invalid_connection_strings(value: object) -> None:
    """A connection string that is blank or not text is rejected without being shown."""
    error = parse_error(ListTrigger, keys="k", connection_string=value)
    assert (error.field, error.value) == ("connection_string", "***")


@pytest.mark.parametrize("value", ["h:6379,password=hunter2", "redis://:hunter2@h", "hunter2@h", ["hunter2"]])
def test_a_connection_string_given_as_a_name(value: object) -> None:
    """A connection string given as the name of a connection is rejected without being shown."""
    error = parse_error(ListTrigger, keys="k", connection=value)
    assert error.field == "connection"
    assert "hunter2" not in str(error) + repr(error)


@pytest.mark.parametrize(
    ("channel", "forced", "is_pattern"),
    [
        ("news", None, False),
        ("news*", None, True),
        ("news?", None, True),
        ("new[sx]", None, True),
        ("*", None, True),
        (r"news\*", None, False),
        (r"news\?", None, False),
        (r"news\[1]", None, False),
        (r"news\\*", None, True),
        (r"news\\\*", None, False),
        (r"\**", None, True),
        ("news]", None, False),
        ("news\\", None, False),
        ("news*", False, False),
        ("news", True, True),
    ],
)
def test_glob_detection(channel: str, forced: bool | None, is_pattern: bool) -> None:
    """A channel is a pattern if it contains an unescaped *, ? or [, unless `pattern` is set."""
    assert PubSubTrigger(channel=channel, pattern=forced).is_pattern is is_pattern


@pytest.mark.parametrize(
    ("trigger", "reads"),
    [
        (ListTrigger(keys=("a", "b")), "list a b"),
        (StreamTrigger(keys=("s",), consumer_group="g"), "stream s as g"),
        (PubSubTrigger(channel="c"), "channel c"),
        (PubSubTrigger(channel="c*"), "pattern c*"),
    ],
)
def test_descriptions_of_what_a_trigger_reads(trigger: Trigger, reads: str) -> None:
    """`reads` describes briefly what a trigger reads."""
    assert trigger.reads == reads
