"""Loading apps from files, modules and declarations; every error has a fix."""

import importlib
import json
import logging
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import listeners
import scaler
from listeners.errors import AppLoadError, BindingError, ConfigurationError
from listeners.functions.loading import load_app
from listeners.functions.triggers import ListTrigger, PubSubTrigger, StreamTrigger

APP = """
from triggerfish import App, RedisMessage
app = App({name})

@app.list_trigger(keys="{key}")
def handle(message: RedisMessage) -> None: ...
"""
HANDLERS = """
def handle(message): ...
async def settle(payments: list[bytes]): ...
def two(a, b): ...
value = 5
"""
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


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty folder; modules that a test imports are removed after it."""
    known = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "handlers_of_declaration.py").write_text(HANDLERS)
    importlib.invalidate_caches()
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def write(path: str, source: str | None = None, *, name: str = "", key: str = "q") -> None:
    """Write a module; without `source`, an app with one function."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(APP.format(name=name, key=key) if source is None else source)
    importlib.invalidate_caches()


def load_error(reference: str) -> ConfigurationError:
    """Return the error of loading `reference`, which always has a fix."""
    with pytest.raises(ConfigurationError) as caught:
        load_app(reference)
    assert caught.value.fix.endswith(".")
    return caught.value


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


@pytest.mark.parametrize(
    ("source", "fix"),
    [
        ("app = 5", "It has 0 apps"),
        ("from triggerfish import App\napp = App()", "It has no functions"),
        ("import not_to_be_found", "No module named 'not_to_be_found'"),
        ("1 / 0", "Importing it raised ZeroDivisionError"),
        ("import sys\nsys.exit(3)", "Importing it raised SystemExit: 3"),
        ("def", "Importing it raised SyntaxError"),
        ("from triggerfish import Nothing", "Importing it raised ImportError"),
    ],
)
def test_files_without_an_app(source: str, fix: str) -> None:
    """A file that cannot be imported or has no app is rejected with its name and the reason, also the second time."""
    write("shop.py", source)
    for _ in range(2):
        error = load_error("shop.py")
        assert isinstance(error, AppLoadError)
        assert (error.field, error.value) == ("app", "shop.py")
        assert error.fix.startswith(fix)


DECORATORS = """
from triggerfish import App
app = App()

def queue(name):
    return app.list_trigger(keys=name)

@app.list_trigger(keys="a")
def first(message): ...

@app.list_trigger(
    keys="b",
    {mistake}
)
def second(message): ...

@queue({key!r})
@queue("c")
def third(message, {more}): ...
"""


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"mistake": "batch_size=0"}, "shop.py:11, in the decorator of `second`."),
        ({"mistake": "key='q'"}, "shop.py:11, in the decorator of `second`."),
        ({"mistake": "batch_size=1 // 0"}, "shop.py:13, in the decorator of `second`."),
        ({"key": " "}, "shop.py:6, in the decorator of `third` at shop.py:17."),
        ({"more": "other"}, "shop.py:18, in the decorator of `third`."),
    ],
    ids=["value", "name", "expression", "helper", "function"],
)
def test_a_mistake_in_a_decorator(changes: dict[str, str], where: str) -> None:
    """The error of one decorator among several names its function and its line."""
    write("shop.py", DECORATORS.format(**({"mistake": "", "key": "d", "more": ""} | changes)))
    assert where in load_error("shop.py").fix.replace(f"{Path.cwd()}/", "")


class Stop(BaseException):
    """No Exception, as KeyboardInterrupt is none."""


@pytest.mark.parametrize(
    ("source", "raised"),
    [
        ("import os\n\nDB = os.environ['NO_SUCH_VARIABLE']", "KeyError: 'NO_SUCH_VARIABLE' at deep/settings.py:3."),
        ("import json\njson.loads('{')", "at deep/settings.py:2."),
        ("\ndef", "at deep/settings.py:2."),
        ("import sys\nsys.exit('no')", "SystemExit: no at deep/settings.py:2."),
        ("raise KeyboardInterrupt", "KeyboardInterrupt at deep/settings.py:1."),
        ("from tests.listeners.functions.test_loading import Stop\nraise Stop", "Stop at deep/settings.py:2."),
        ("import asyncio\nraise asyncio.CancelledError", "CancelledError at deep/settings.py:2."),
        ("import no_such_module", "No module named 'no_such_module' was found at deep/settings.py:1."),
        ("class E(Exception):\n    def __str__(self):\n        raise SystemExit\nraise E", "E at deep/settings.py:4."),
        ("raise ValueError('x' * 9999)", "… at deep/settings.py:1."),
        ("raise ValueError('two\\nlines')", "ValueError: two lines at deep/settings.py:1."),
    ],
)
def test_an_exception_three_modules_deep(source: str, raised: str) -> None:
    """The error has the line of the user's code that raised it, whatever it raised, and the debug log the traceback."""
    write("deep/settings.py", source)
    write("deep/__init__.py", "")
    write("orders.py", "import deep.settings")
    write("shop.py", "import orders\n")
    error = load_error("shop.py")
    assert raised in error.fix.replace(f"{Path.cwd()}/", "")
    assert isinstance(error, AppLoadError)


@pytest.mark.parametrize(
    "source", ["import os\nos.environ['NO_SUCH_VARIABLE']", DECORATORS.format(mistake="batch_size=0", key="", more="")]
)
def test_the_traceback_is_in_the_debug_log(caplog: pytest.LogCaptureFixture, source: str) -> None:
    """The whole traceback of a failed import is logged at the level debug, and the error says so."""
    write("shop.py", source)
    with caplog.at_level(logging.DEBUG):
        assert load_error("shop.py").fix.endswith("`triggerfish run --log-level debug` prints the traceback.")
    assert "Traceback (most recent call last)" in caplog.text
    assert "/shop.py" in caplog.text


@pytest.mark.parametrize(
    ("hidden", "source", "named"),
    [
        ("listeners/orders.py", "import listeners.orders", "listeners"),
        ("listeners/inner/orders.py", "from listeners.inner.orders import x", "listeners"),
        ("listeners/orders.py", "from listeners import orders", "listeners"),
        ("scaler.py", "from scaler import orders", "scaler.py"),
        ("triggerfish/__init__.py", "from triggerfish import orders", "triggerfish"),
    ],
)
def test_a_module_that_ours_hides(folder: Path, hidden: str, source: str, named: str) -> None:
    """If a package of ours hides the module that an app imports, the error names what to rename."""
    write(hidden, "orders = 1")
    write("shop.py", source)
    assert load_error("shop.py").fix.startswith(f"{folder / named} has the same name as a package of Triggerfish")


@pytest.mark.parametrize(
    ("beside", "path", "source", "fix"),
    [
        ("triggerfish/helpers.py", "shop.py", "from triggerfish import Appp", "Importing it raised ImportError"),
        ("triggerfish/helpers.py", "shop.py", "import triggerfish.missing", "No module named 'triggerfish.missing'"),
        ("listeners.py", "shop.py", "from triggerfish import Appp", "Importing it raised ImportError"),
        ("scaler/orders.py", "shop.py", "import scaler.missing", "No module named 'scaler.missing'"),
        ("scaler/orders.py", "scaler/scaler.py", "import scaler.missing", "No module named 'scaler.missing'"),
        ("scaler/orders.py", "scaler/shop.py", "import not_to_be_found", "No module named 'not_to_be_found'"),
        (
            "helpers.py",
            "triggerfish.py",
            "from triggerfish import Appp\napp = Appp()",
            "Importing it raised ImportError",
        ),
    ],
)
def test_a_module_of_our_name_that_is_not_the_cause(beside: str, path: str, source: str, fix: str) -> None:
    """A module with the name of a package of ours is not blamed for an import that it could not have provided."""
    write(beside, "orders = 1")
    write(path, source)
    assert load_error(path).fix.startswith(fix)


@pytest.mark.parametrize(
    ("reference", "fix"),
    [
        ("missing.py", "There is no such file"),
        ("missing", "No module named 'missing'"),
        ("missing.module", "No module named 'missing'"),
        ("handlers_of_declaration:value", "'value' is not an App"),
        ("handlers_of_declaration:missing", "'missing' is not an App"),
        ("handlers_of_declaration.py:value", "'value' is not an App"),
        ("", "Importing it raised ValueError"),
        (".relative", "Importing it raised TypeError"),
        ("missing.yaml", "It cannot be read: No such file"),
        ("missing.json", "It cannot be read: No such file"),
    ],
)
def test_references_to_nothing(reference: str, fix: str) -> None:
    """A reference to nothing is rejected with a fix."""
    assert load_error(reference).fix.startswith(fix)


def test_an_error_in_a_decorator_names_its_field() -> None:
    """An invalid parameter in a file is reported as such, not as a failed import."""
    write("shop.py", APP.format(name="", key=" "))
    assert load_error("shop.py").field == "keys"


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
        (functions(handler="handlers_of_declaration:two"), "two", "A function takes exactly one parameter"),
    ],
)
def test_invalid_declarations(source: str, field: str, fix: str) -> None:
    """An invalid declaration is rejected, and the error names the place in the file and a fix."""
    Path("app.yaml").write_text(source)
    error = load_error("app.yaml")
    assert isinstance(error, AppLoadError | BindingError)
    assert error.field == field
    assert error.fix.startswith(fix)


def test_a_declaration_that_is_not_text() -> None:
    """A file that is not UTF-8 is rejected because it does not parse."""
    Path("app.json").write_bytes(b'{"\xff": 1}')
    assert load_error("app.json").fix.startswith("It does not parse")


def test_names_that_are_numbers() -> None:
    """A function name that YAML reads as a number becomes text."""
    Path("app.yaml").write_text(
        "{functions: {7: {handler: handlers_of_declaration:handle, type: RedisListTrigger, keys: q}}}"
    )
    assert list(load_app("app.yaml").functions) == ["7"]


MODULES = [
    module.name
    for package in (listeners, scaler)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not module.ispkg and "_pb2" not in module.name
]


@pytest.mark.parametrize("module", MODULES)
def test_exported_names_exist(module: str) -> None:
    """Every name in `__all__` exists and is listed once."""
    imported = importlib.import_module(module)
    exported: list[str] = getattr(imported, "__all__", [])
    assert [name for name in exported if not hasattr(imported, name)] == []
    assert len(set(exported)) == len(exported)


def test_the_package_exports_what_an_app_needs() -> None:
    """The package exports the names that the documentation uses."""
    assert {"App", "Host", "RedisMessage", "Reject", "Retry"} <= set(listeners.__all__)
    assert all(hasattr(listeners, name) for name in listeners.__all__)
