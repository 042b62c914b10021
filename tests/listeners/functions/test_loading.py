"""Loading apps from files, modules and declarations; every error has a fix."""

import importlib
import json
from pathlib import Path

import pytest
import yaml

from listeners.errors import AppLoadError, BindingError
from listeners.functions.loading import load_app
from listeners.functions.triggers import ListTrigger, PubSubTrigger, StreamTrigger
from tests.listeners.functions.app_files import APP, load_error, write

pytestmark = pytest.mark.usefixtures("folder")

DECLARATION = {
    "name": "shop",
    "functions": {
        "orders": {
            "handler": "handlers_of_declaration:handle",
            "type": "redisListsTrigger",
            "ConnectionString": "127.0.0.1:6379",
            "Keys": "a b",
            "PollingIntervalInMs": 50,
            "MessagesPerWorker": 20,
            "BatchSize": 5,
            "ListPopFromBeginning": False,
        },
        "payments": {
            "handler": "handlers_of_declaration:settle",
            "type": "RedisStreamTrigger",
            "keys": ["s"],
            "consumerGroup": "g",
            "deleteAfterProcess": True,
        },
        "events": {"handler": "handlers_of_declaration:handle", "type": "REDISPUBSUBTRIGGER", "channel": "c*"},
    },
}


@pytest.mark.parametrize(
    ("path", "reference", "name"),
    [
        ("shop.py", "shop.py", "shop"),
        ("shop.py", "./shop.py", "shop"),
        ("shop.py", "shop.py:app", "shop"),
        ("deep/er/shop.py", "deep/er/shop.py", "shop"),
        ("my-shop.v2.py", "my-shop.v2.py", "my-shop.v2"),
        ("shop_module.py", "shop_module", "shop_module"),
        ("shop_module.py", "shop_module:app", "shop_module"),
        ("shop_package/web.py", "shop_package.web", "web"),
        ("shop_package/inner/web.py", "shop_package.inner.web:app", "web"),
        ("shop_package/__init__.py", "shop_package", "shop_package"),
    ],
)
def test_python_apps(path: str, reference: str, name: str) -> None:
    """An app is found in a file or a module, by name or as the only one, and is named after the file or module."""
    write(path)
    app = load_app(reference)
    assert app.name == name
    assert list(app.functions) == ["handle"]


def test_an_app_with_a_name() -> None:
    """An app that has a name keeps it."""
    write("shop.py", name="'orders'")
    assert load_app("shop.py").name == "orders"


def test_one_of_several_apps() -> None:
    """Of several apps in a file, the one named in the reference is loaded."""
    write("shop.py", APP.format(name="'a'", key="q") + "\nother = App('b')\nother.list_trigger(keys='r')(handle)\n")
    assert load_app("shop.py:other").name == "b"
    assert load_error("shop.py").fix == "It has 2 apps. Define one, or select one as shop.py:NAME."


def test_an_app_under_two_names_is_one() -> None:
    """The same app under two names counts as one app."""
    write("shop.py", APP.format(name="", key="q") + "\nalias = app\n")
    assert list(load_app("shop.py").functions) == ["handle"]


def test_files_that_share_a_module_name() -> None:
    """Files that share a name with each other or with an imported module are distinguished by their path."""
    for path, key in (("one/app.py", "a"), ("two/app.py", "b"), ("queue.py", "c")):
        write(path, key=key)
    importlib.import_module("queue")
    found = [load_app(path).functions["handle"].trigger for path in ("one/app.py", "two/app.py", "queue.py")]
    assert [trigger.reads for trigger in found] == ["list a", "list b", "list c"]


def test_a_file_is_run_once() -> None:
    """Loading a file again returns the same app."""
    write("shop.py")
    assert load_app("shop.py") is load_app("shop.py:app")


def test_a_file_imports_its_neighbours() -> None:
    """An app in a file can import modules from the same folder."""
    write("deep/neighbour_of_shop.py", "KEY = 'near'")
    write("deep/shop.py", "from neighbour_of_shop import KEY\n" + APP.format(name="", key="q").replace('"q"', "KEY"))
    assert load_app("deep/shop.py").functions["handle"].trigger.reads == "list near"


@pytest.mark.parametrize("suffix", ["yaml", "yml", "json"])
def test_declarations(suffix: str) -> None:
    """A YAML or JSON declaration with the names of Azure Functions creates the same app as decorators do."""
    Path(f"app.{suffix}").write_text(json.dumps(DECLARATION) if suffix == "json" else yaml.safe_dump(DECLARATION))
    app = load_app(f"app.{suffix}")
    orders, payments, events = (app.functions[name] for name in ("orders", "payments", "events"))
    assert app.name == "shop"
    assert orders.trigger == ListTrigger.model_validate(
        {
            "connection_string": "127.0.0.1:6379",
            "keys": "a b",
            "polling_interval_ms": 50,
            "messages_per_worker": 20,
            "batch_size": 5,
            "list_pop_from_beginning": False,
        }
    )
    assert payments.trigger == StreamTrigger(keys=("s",), consumer_group="g", delete_after_process=True)
    assert events.trigger == PubSubTrigger(channel="c*")
    assert (orders.handler.__name__, payments.binding.batch, payments.binding.is_async) == ("handle", True, True)


def test_a_declaration_without_a_name() -> None:
    """An app that is declared without a name is named after its file."""
    Path("orders.yaml").write_text(yaml.safe_dump({"functions": DECLARATION["functions"]}))
    assert load_app("orders.yaml").name == "orders"


def functions(**changes: object) -> str:
    """Return a declaration of the function `f`, with these changes."""
    declared = {"handler": "handlers_of_declaration:handle", "type": "RedisListTrigger", "keys": "q", **changes}
    return json.dumps({"functions": {"f": {name: value for name, value in declared.items() if value is not None}}})


@pytest.mark.parametrize(
    ("source", "field", "fix"),
    [
        ("{", "app", "It does not parse"),
        ("\t- x", "app", "It does not parse"),
        ("[]", "app", "It needs `functions:`"),
        ("5", "app", "It needs `functions:`"),
        ("", "app", "It needs `functions:`"),
        ("functions: []", "app", "It needs `functions:`"),
        ("functions: {}", "app", "It needs `functions:`"),
        ("{functions: {f: {}}, triggers: 1}", "triggers", "A declaration file may have only `name` and `functions`."),
        ("{functions: {f: {}}, triggers: 1, 5: 6}", "5", "A declaration file may have only `name` and `functions`."),
        ("{functions: {f: {}}, name: 5}", "name", "The app's name must be text"),
        ("{functions: {f: 5}}", "functions.f", "Give it a handler and a type."),
        (functions(type=None), "functions.f", "Give it a handler and a type."),
        (functions(handler=None), "functions.f", "Give it a handler and a type."),
        (
            functions(type="RedisSetTrigger"),
            "functions.f.type",
            "Did you mean RedisListTrigger? Use one of RedisPubSubTrigger",
        ),
        (functions(keys=None), "functions.f.keys", "A RedisListTrigger needs it"),
        (functions(keys=""), "functions.f.keys", "A key is empty"),
        (functions(BatchSize=0), "functions.f.BatchSize", "Input should be greater"),
        (functions(Pasword="x"), "functions.f.Pasword", "A RedisListTrigger has no such option"),
        ("{functions: {f: {handler: a:b, type: RedisListTrigger, keys: q, on: 1}}}", "functions.f.True", "A Redis"),
        (functions(handler="handle"), "functions.f.handler", "Write it as module:function."),
        (functions(handler=5), "functions.f.handler", "Write it as module:function."),
        (functions(handler=":handle"), "functions.f.handler", "Write it as module:function."),
        (functions(handler="handlers_of_declaration:nothing"), "functions.f.handler", "handlers_of_declaration has no"),
        (functions(handler="handlers_of_declaration:value"), "functions.f.handler", "handlers_of_declaration has no"),
        (functions(handler="not_to_be_found:handle"), "functions.f.handler", "No module named 'not_to_be_found'"),
        (functions(handler="handlers_of_declaration:two"), "two", "A function takes one parameter"),
    ],
)
def test_invalid_declarations(source: str, field: str, fix: str) -> None:
    """An invalid declaration is rejected, and the error names the place in the file and a fix."""
    Path("app.yaml").write_text(source)
    error = load_error("app.yaml")
    assert isinstance(error, AppLoadError | BindingError)
    assert error.field == field
    assert error.fix.startswith(fix)


ALIASES = "[&l0 [x], " + ", ".join(f"&l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 10)) + "]"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (functions(keys="KEYS").replace('"KEYS"', ALIASES), "more than 200,000 values"),
        ("{functions: &f {f: *f}}", "refers to itself"),
        ("[" * 10_000, "nested too deeply"),
        ("functions: !!bool 5", "cannot be converted"),
    ],
)
def test_declarations_that_grow_when_they_are_read(source: str, problem: str) -> None:
    """A file is rejected if its aliases stand for too many values, or no value can be made of it."""
    Path("app.yaml").write_text(source)
    assert problem in load_error("app.yaml").fix


def test_a_declaration_that_is_not_text() -> None:
    """A file that is not UTF-8 is rejected because it does not parse."""
    Path("app.json").write_bytes(b'{"\xff": 1}')
    assert load_error("app.json").fix.startswith("It does not parse")


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_a_function_that_is_declared_twice(suffix: str) -> None:
    """Two functions with one name are refused, as the first of them would be lost."""
    Path(f"app.{suffix}").write_text('{"functions": {"f": {"keys": "a"}, "f": {"keys": "b"}}}')
    assert "a key is given twice" in load_error(f"app.{suffix}").fix


def test_names_that_are_numbers() -> None:
    """A function name that YAML reads as a number becomes text."""
    Path("app.yaml").write_text(
        "{functions: {7: {handler: handlers_of_declaration:handle, type: RedisListTrigger, keys: q}}}"
    )
    assert list(load_app("app.yaml").functions) == ["7"]
