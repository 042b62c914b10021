"""Mistakes of a declaration: all are reported at once, each with the name to use."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from listeners.errors import ConfigurationError
from listeners.functions.declarations import parse_declaration, parse_trigger
from listeners.functions.triggers import ListTrigger, StreamTrigger, Trigger
from tests.listeners.functions.app_files import load_error
from triggerfish import App


def mistakes(type_name: object, **parameters: Any) -> dict[str, str]:
    """Return the fixes by field that a declaration raises."""
    with pytest.raises(ConfigurationError) as caught:
        parse_declaration(type_name, parameters, ("type", "activationMessages"))
    return {one.field: one.fix for one in (caught.value, *caught.value.others)}


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("key", "keys"),
        ("listName", "keys"),
        ("count", "batchSize"),
        ("maxBatchSize", "batchSize"),
        ("listDirection", "listPopFromBeginning"),
        ("listLength", "messagesPerWorker"),
        ("lagCount", "messagesPerWorker"),
        ("pendingEntriesCount", "messagesPerWorker"),
        ("activationListLength", "activationMessages"),
        ("databaseIndex", "connection"),
        ("connectionStringSetting", "connection"),
        ("password", "connection"),
        ("sentinelMaster", "connection"),
        ("list", "keys"),
        ("max_workers", "concurrency"),
        ("max_retries", "maxDeliveries"),
        ("time_limit", "callTimeoutSeconds"),
    ],
)
def test_names_of_other_systems(name: str, ours: str) -> None:
    """A name of Azure's function.json, KEDA's scalers, FastStream or Celery is rejected with our name, and nothing else
    is missed.
    """
    found = mistakes("RedisListTrigger", **{name: "5"}, **({} if ours == "keys" else {"keys": "k"}))
    assert list(found) == [name]
    assert found[name].startswith(f"Did you mean {ours}? ")


def test_names_without_a_counterpart() -> None:
    """What function.json has and nothing here needs is to be removed."""
    found = mistakes("RedisListTrigger", keys="k", name="message", direction="in")
    assert list(found) == ["name", "direction"]
    assert all(fix.endswith("Remove it: nothing depends on it here.") for fix in found.values())


def test_all_mistakes_at_once() -> None:
    """Unknown names, names given twice and invalid values are reported together, the known names only once."""
    found = mistakes("RedisListTrigger", key="k", BatchSize=0, batch_size=1, colour=1, shape=2, delivery="exactly-once")
    assert set(found) == {"key", "BatchSize", "batch_size", "colour", "shape", "delivery"}
    assert [field for field, fix in found.items() if "Use one of" in fix] == ["colour"]


@pytest.mark.parametrize(
    ("type_name", "parameters", "fields"),
    [
        (None, {"listName": "q", "databaseIndex": "1"}, ["type", "listName", "databaseIndex"]),
        ("redis", {"stream": "s", "lagCount": "5"}, ["type", "stream", "lagCount"]),
        ("redis", {"anything": "s"}, ["type"]),
    ],
)  # fmt: skip
def test_mistakes_beside_a_wrong_type(type_name: object, parameters: dict[str, str], fields: list[str]) -> None:
    """If the type is wrong, too, the names are explained for the type that they belong to."""
    assert list(mistakes(type_name, **parameters)) == fields


def test_the_text_of_many_mistakes() -> None:
    """The text has every mistake up to a number, and how many more there are."""
    with pytest.raises(ConfigurationError) as caught:
        parse_trigger(ListTrigger, {f"x{n}": "secret" for n in range(30)})
    text = str(caught.value)
    assert "Also, x20: " in text
    assert "Also, x21: " not in text
    assert text.endswith("And 10 more.")  # with the missing keys
    assert "secret" not in text


@pytest.mark.parametrize(
    ("cls", "name", "value"),
    [
        (ListTrigger, "keys", "%QUEUE%"),
        (ListTrigger, "keys", ["a", "%QUEUE%"]),
        (ListTrigger, "Keys", "orders:%ENV%:q"),
        (ListTrigger, "batch_size", "%BATCH%"),
        (ListTrigger, "connection", "%Redis:Name%"),
        (StreamTrigger, "consumer_group", "%GROUP%"),
        (ListTrigger, "connection_string", "%REDIS%"),
    ],
)
def test_placeholders(cls: type[Trigger], name: str, value: object) -> None:
    """A placeholder of Azure Functions is rejected with an explanation, and is no key, name or number."""
    with pytest.raises(ConfigurationError, match="Only Azure Functions replaces placeholders") as caught:
        parse_trigger(cls, {"keys": "k", name: value} if name.lower() != "keys" else {name: value})
    assert (caught.value.field, caught.value.others) == (name, ())
    assert caught.value.value == ("***" if name == "connection_string" else value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("keys", "100%"), ("keys", "50%-100%"), ("keys", "%"), ("connection_string", "redis://u:%C3%A9%AFa%@h"),
     ("connection_string", "h:1,password=%PASSWORD%x")],
)  # fmt: skip
def test_percent_signs(name: str, value: str) -> None:
    """Percent signs that enclose no name are part of a key, and those of a connection string are its own."""
    parse_trigger(ListTrigger, {"keys": "k", name: value})


APPS: list[tuple[Callable[[Any], Any], str]] = [
    (lambda app: app.list_trigger(key="orders"), r"^key: Did you mean keys\? A RedisListTrigger has no such option\.$"),
    (lambda app: app.list_trigger(keys="q", colour="red"), r"^colour: .*Use one of connection_string, connection"),
    (lambda app: app.list_trigger(keys="q", batchsiz=5), r"^batchsiz: .*Did you mean batch_size\?"),
    (lambda app: app.list_trigger(key="q", colour=1, batch_size=0), r"^key: .*Also, colour: .*Also, invalid batch_s"),
    (lambda app: app.list_trigger(keys="q", batch_size=10**5_000), r"^invalid batch_size \(a number of 16610 bits\)"),
    (lambda app: app.list_trigger(keys="q", delivery=10**5_000), r"^invalid delivery \(a number of 16610 bits\)"),
    (lambda app: app.list_trigger(keys="q", connection=10**5_000), r"^invalid connection '\*\*\*'"),
    (lambda app: app.list_trigger(lambda message: None), r"^invalid list_trigger '<lambda>': .*\(keys=\.\.\.\)"),
    (lambda app: app.pubsub_trigger(lambda message: None), r"@app\.pubsub_trigger\(channel=\.\.\.\)"),
    (lambda app: app.stream_trigger("orders"), r"^stream_trigger: Name each parameter: .*\(keys=\.\.\.\)\.$"),
    (lambda app: type(app).list_trigger(keys="q"), r"^list_trigger: .* @app\.list_trigger\(keys=\.\.\.\)"),
    (lambda app: type(app).pubsub_trigger(lambda message: None), r"^pubsub_trigger: .*@app\.pubsub_trigger\(channel="),
    (lambda app: app.list_trigger(keys="q")(5), r"^invalid function 5: It is not a function"),
    (lambda app: app.stream_trigger(), r"^keys: A RedisStreamTrigger needs it"),
]  # fmt: skip


@pytest.mark.parametrize(("declare", "message"), APPS)
def test_mistakes_in_a_decorator(declare: Callable[[Any], Any], message: str) -> None:
    """What Python would answer with a TypeError is an error with the field and the fix."""
    with pytest.raises(ConfigurationError, match=message):
        declare(App())


def test_spellings_in_a_decorator() -> None:
    """A decorator takes parameters in every spelling of Azure Functions."""
    app: Any = App()

    def on_element(message: str) -> None: ...
    def on_entry(message: str) -> None: ...

    app.list_trigger(Keys="orders", pollingIntervalInMs=250, messages_per_worker=7, Connection=None)(on_element)
    app.stream_trigger(keys="s", polling_interval_in_ms=300)(on_entry)

    assert app.functions["on_element"].trigger == ListTrigger(
        keys=("orders",), polling_interval_ms=250, messages_per_worker=7
    )
    assert app.functions["on_entry"].trigger.polling_interval_ms == 300


def test_one_function_with_two_triggers() -> None:
    """A second trigger of a function needs a name, and the error shows one."""
    app = App()

    def handle(message: str) -> None: ...

    app.list_trigger(keys="a")(handle)
    shown = r"'handle': It has a trigger already\. Give one of them a name, such as name=\"handle_stream\"\."
    with pytest.raises(ConfigurationError, match=shown):
        app.stream_trigger(keys="s")(handle)


@pytest.mark.usefixtures("folder")
def test_all_mistakes_of_a_declaration_file() -> None:
    """The mistakes of all functions in a file are reported at once, with their places."""
    Path("app.yaml").write_text(
        "functions:\n"
        "  one: {handler: handlers_of_declaration:nothing, type: RedisListTrigger, key: a, count: 5}\n"
        "  two: {handler: handlers_of_declaration:handle, type: RedisStreamTrigger, keys: '%STREAM%'}\n"
        "  three: 5\n"
    )
    error = load_error("app.yaml")
    assert [one.field for one in (error, *error.others)] == [
        "functions.one.key",
        "functions.one.count",
        "functions.one.handler",
        "functions.two.keys",
        "functions.three",
    ]
