"""Mistakes in an app's modules, decorators and references; every error has a fix."""

import logging
from pathlib import Path

import pytest

from listeners.errors import AppLoadError
from tests.listeners.functions.app_files import APP, load_error, write

pytestmark = pytest.mark.usefixtures("folder")


@pytest.mark.parametrize(
    ("source", "fix"),
    [
        ("app = 5", "It has no app. Define one"),
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
        ("from tests.listeners.functions.test_app_mistakes import Stop\nraise Stop", "Stop at deep/settings.py:2."),
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
    """If a Triggerfish package hides a module that an app imports, the error names what to rename."""
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
    """A module named like a Triggerfish package is not blamed for an import that it could not have satisfied."""
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
        ("", "It is neither a file that ends in .py"),
        (".relative", "It is neither a file that ends in .py"),
        ("./shop", "It is neither a file that ends in .py"),
        ("missing.yaml", "There is no such file"),
        ("missing.json", "There is no such file"),
    ],
)
def test_references_to_nothing(reference: str, fix: str) -> None:
    """A reference to nothing is rejected with a fix."""
    assert load_error(reference).fix.startswith(fix)


def test_a_module_in_the_place_of_an_app() -> None:
    """`package:module`, as in `celery -A package`, is answered with the module's own reference."""
    write("bakery/__init__.py", "from bakery import orders")
    write("bakery/orders.py", APP.format(name="", key="q"))
    assert load_error("bakery:orders").fix == (
        "'orders' is a module. Name it as bakery.orders, or its app as bakery.orders:NAME."
    )


def test_an_error_in_a_decorator_names_its_field() -> None:
    """An invalid parameter in a file is reported as such, not as a failed import."""
    write("shop.py", APP.format(name="", key=" "))
    assert load_error("shop.py").field == "keys"
