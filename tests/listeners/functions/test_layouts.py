"""Where apps are: in factories, in packages, and in a src folder."""

from pathlib import Path

import pytest

from listeners.functions.loading import load_app
from tests.listeners.functions.app_files import APP, load_error, write

pytestmark = pytest.mark.usefixtures("folder")

FACTORY = """
from triggerfish import App

def create_app({parameters}):
    app = App()
    @app.list_trigger(keys="q")
    def handle(message): ...
    return {returned}
"""
RELATIVE = "from .{models} import Order\n" + APP.format(name="", key="q")


@pytest.mark.parametrize("parameters", ["", "debug=False", "*args, **more"])
def test_a_factory(parameters: str) -> None:
    """A function that returns an app is called, and the app has the name of its file."""
    write("factory_ok.py", FACTORY.format(parameters=parameters, returned="app"))
    for reference in ("factory_ok.py:create_app", "factory_ok.py:create_app()"):
        app = load_app(reference)
        assert (app.name, list(app.functions)) == ("factory_ok", ["handle"])


MAKERS = """
import functools

class Maker:
    def __call__(self):
        return create_app(1)

partial, instance = functools.partial(create_app, 1), Maker()
"""


@pytest.mark.parametrize("name", ["partial", "instance", "instance()"])
def test_a_factory_that_is_no_function(name: str) -> None:
    """Anything that can be called without arguments may make the app."""
    write("factory_more.py", FACTORY.format(parameters="number", returned="app") + MAKERS)
    assert list(load_app(f"factory_more.py:{name}").functions) == ["handle"]


@pytest.mark.parametrize(
    ("name", "source", "fix"),
    [
        (
            "factory_a",
            FACTORY.format(parameters="", returned="app"),
            "It has no app, but a function that makes one. Select it as factory_a:create_app.",
        ),
        (
            "factory_f:",
            FACTORY.format(parameters="", returned="app"),
            "It has no app, but a function that makes one. Select it as factory_f:create_app.",
        ),
        ("factory_g:App", FACTORY.format(parameters="", returned="app"), "'App' is not an App"),
    ],
)
def test_mistakes_in_factories(name: str, source: str, fix: str) -> None:
    """A factory that is not selected, needs arguments, fails or returns no app is an error that explains it."""
    write(f"{name.partition(':')[0]}.py", source)
    assert load_error(name).fix.startswith(fix)


MISTAKES = {
    "returns 5": (
        FACTORY.format(parameters="", returned="5"),
        "'create_app' has returned an object of type int. A function that makes the app returns it. It is at PLACE:4.",
    ),
    "returns nothing": (
        "def create_app(): pass",
        "'create_app' has returned nothing. A function that makes the app returns it. It is at PLACE:1.",
    ),
    "returns a coroutine": (
        "async def later(): ...\ndef create_app(): return later()",
        "'create_app' has returned an object of type coroutine. A function that makes the app returns it. "
        "It is at PLACE:2.",
    ),
    "needs arguments": (
        FACTORY.format(parameters="debug, *, level, more=5", returned="app"),
        "'create_app' is called without arguments, and needs debug, level. Give them defaults. It is at PLACE:4.",
    ),
    "async": (
        "async def create_app(): ...",
        "'create_app' is async, and makes the app before an event loop runs. Make it a plain `def`. What needs an "
        "event loop goes into @app.lifespan. It is at PLACE:1.",
    ),
    "raises": (
        "def create_app():\n    1 / 0",
        "Calling create_app raised ZeroDivisionError: division by zero at PLACE:2. "
        "`triggerfish run --log-level debug` prints the traceback.",
    ),
    "exits": (
        "def create_app():\n    raise SystemExit('bye')",
        "Calling create_app raised SystemExit: bye at PLACE:2. "
        "`triggerfish run --log-level debug` prints the traceback.",
    ),
    "declares badly": (
        FACTORY.format(parameters="", returned="app").replace('"q"', '""'),
        "A key is empty (keys is the list of keys to read, or text with spaces between them). It is at PLACE:6, in the "
        "decorator of `handle`. `triggerfish run --log-level debug` prints the traceback.",
    ),
}


@pytest.mark.parametrize(("source", "fix"), MISTAKES.values(), ids=MISTAKES.keys())
def test_factories_that_fail(source: str, fix: str) -> None:
    """A factory that makes no app, needs arguments, is async or raises is one error with its place."""
    write("factory_bad.py", source)
    assert load_error("factory_bad.py:create_app").fix.replace(f"{Path.cwd()}/factory_bad.py", "PLACE") == fix


def test_a_file_in_a_package() -> None:
    """A file in a package is imported as its module, so relative imports of siblings and parents work."""
    write("src/shop_a/__init__.py", "")
    write("src/shop_a/models.py", "class Order: ...")
    write("src/shop_a/sub/__init__.py", "")
    write("src/shop_a/app.py", RELATIVE.format(models="models") + "from shop_a.models import Order as same\n")
    write("src/shop_a/sub/app.py", RELATIVE.format(models=".models"))
    assert list(load_app("src/shop_a/app.py").functions) == ["handle"]
    assert list(load_app("src/shop_a/sub/app.py").functions) == ["handle"]
    assert load_app("src/shop_a/app.py").name == "app"


@pytest.mark.parametrize("name", ["json", "not-a-name"])
def test_a_package_whose_name_is_taken(name: str) -> None:
    """A file is imported even if the name of its package is taken, or is no name that Python can import."""
    write(f"{name}/__init__.py", "")
    write(f"{name}/taken_{name[:3]}.py")
    assert list(load_app(f"{name}/taken_{name[:3]}.py").functions) == ["handle"]


def test_relative_imports_outside_of_a_package() -> None:
    """A relative import in a file that is in no package is an error that names the two ways out."""
    write("loose/models.py", "class Order: ...")
    write("loose/loose_app.py", RELATIVE.format(models="models"))
    fix = load_error("loose/loose_app.py").fix.replace(f"{Path.cwd()}/", "")
    assert fix.startswith("A relative import at loose/loose_app.py:1 needs a package")
    assert "__init__.py" in fix


def test_a_package_in_a_src_folder() -> None:
    """A module that is only in `src` is an error that names it, with what to do."""
    write("src/shop_b/__init__.py", "")
    write("src/shop_b/app.py")
    fix = load_error("shop_b.app").fix
    assert "src/shop_b has this name: install it (pip install -e .), or set PYTHONPATH=src." in fix
