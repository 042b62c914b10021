"""Which app a command takes that is run without naming one."""

from pathlib import Path

import pytest

from listeners.errors import AppLoadError, ConfigurationError
from listeners.functions.loading import load_app
from triggerfish.finding import find_app

APP = "from triggerfish import App\napp = App()\n"
DECLARATION = "functions:\n  f:\n    handler: shop:handle\n    type: RedisListTrigger\n    keys: q\n"


def put(folder: Path, path: str, source: str = APP) -> None:
    """Write a file and the folders that it is in."""
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source)


def problem(folder: Path, command: str = "run") -> str:
    """Return the fix of the error for a folder without exactly one app."""
    with pytest.raises(ConfigurationError) as caught:
        find_app(folder, command)
    assert caught.value.field == "APP"
    assert caught.value.fix.endswith(".")
    return caught.value.fix.replace(str(folder), "FOLDER")


@pytest.mark.parametrize(
    "path", ["main.py", "shop.py", "my-shop.py", "src/main.py", "shop/__init__.py", "shop/app.py", "src/shop/app.py"]
)
def test_the_only_app(tmp_path: Path, path: str) -> None:
    """An app is found in the folder, in src and in packages, whatever its name."""
    put(tmp_path, "setup.py", "import setuptools")
    if "shop/" in path:
        put(tmp_path, str(Path(path).parent / "__init__.py"), "")
    put(tmp_path, path)
    assert find_app(tmp_path, "run") == path


@pytest.mark.parametrize(
    "source",
    [
        "import triggerfish\napp = triggerfish.App('shop')",
        "import triggerfish as tf\napp = tf.App()",
        "from triggerfish import App as Application\napp = Application()",
        "from triggerfish import *\napp = App()",
        "from triggerfish import App\ndef create_app():\n    return App()",
        "from triggerfish import App\napp = App(",
    ],
)
def test_ways_to_make_an_app(tmp_path: Path, source: str) -> None:
    """App may have any name and be called in a function. A file that does not parse counts: loading reports why."""
    put(tmp_path, "shop.py", source)
    assert find_app(tmp_path, "run") == "shop.py"


@pytest.mark.parametrize("name", ["app.yaml", "functions.yml", "app.json"])
def test_a_declaration(tmp_path: Path, name: str) -> None:
    """A declaration file is found by its functions, beside the module with their handlers."""
    put(tmp_path, "shop.py", "from triggerfish import Retry\ndef handle(order): ...")
    source = '{"functions": {"f": {"handler": "shop:handle", "type": "redisListTrigger"}}}'
    put(tmp_path, name, source if name.endswith("json") else DECLARATION)
    assert find_app(tmp_path, "run") == name


FACTORY = "from triggerfish import App\ndef build() -> App:\n    return App()\n"


@pytest.mark.parametrize(
    "source",
    [
        FACTORY,
        "import triggerfish as tf\ndef build() -> tf.App:\n    return tf.App()",
        "from triggerfish import App\nfrom shop import make\ndef build(name: str = '') -> 'App':\n    return make()",
        f"{FACTORY}def helper(): ...\ndef other() -> str: ...\nclass Shop:\n    def app(self) -> App: ...",
        f"{FACTORY}if __name__ == '__main__':\n    build()",
    ],
)
def test_a_factory(tmp_path: Path, source: str) -> None:
    """The function that is annotated as returning an App is selected, so that the app can be loaded."""
    put(tmp_path, "shop.py", source)
    assert find_app(tmp_path, "run") == "shop.py:build"


def test_a_factory_beside_an_app(tmp_path: Path) -> None:
    """An app is taken rather than a function, in the same file or in another one that makes none itself."""
    put(tmp_path, "shop.py", f"{APP}def get() -> App:\n    return app\n")
    assert find_app(tmp_path, "run") == "shop.py"
    put(tmp_path, "web.py", "from triggerfish import App\nfrom shop import app\ndef get() -> App:\n    return app\n")
    assert find_app(tmp_path, "run") == "shop.py"


def test_several_factories(tmp_path: Path) -> None:
    """The error names them, and shows how to name one."""
    put(tmp_path, "shop.py", f"{FACTORY}{FACTORY.replace('build', 'make')}")
    assert problem(tmp_path, "up") == (
        "shop.py has several functions that return an App: build, make. Name one: triggerfish up shop.py:build."
    )
    put(tmp_path, "web.py", FACTORY)
    assert problem(tmp_path).endswith("has 2 apps: shop.py, web.py. Name one: triggerfish run shop.py.")


def test_a_factory_without_an_annotation(tmp_path: Path) -> None:
    """The file is found, and loading it says how to name the function."""
    put(tmp_path, "shop.py", FACTORY.replace(" -> App", ""))
    assert find_app(tmp_path, "run") == "shop.py"
    with pytest.raises(AppLoadError, match=r"name a function that returns one: .*shop\.py:FUNCTION"):
        load_app(f"{tmp_path}/shop.py")


OTHERS = {
    "web.py": "from fastapi import FastAPI\napp = FastAPI()",
    "own.py": "from own import App\nimport triggerfish\napp = App()",
    "text.py": '"""triggerfish App()"""',
    "uses.py": "from triggerfish import App, Retry\ndef run(app: App) -> None: ...",
    "test_shop.py": APP,
    "shop_test.py": APP,
    "conftest.py": APP,
    ".hidden.py": APP,
    "notes.txt": APP,
    "large.py": APP + "#" * 1024 * 1024,
    "tests/shop.py": APP,
    "shop/inner/app.py": APP,
    ".venv/app.py": APP,
    "serverless.yml": "functions:\n  f:\n    handler: shop.handle\n    events: [{http: GET}]\n",
    "scaledobject.yaml": "spec:\n  triggers:\n    - type: external-push\n      metadata: {type: RedisListTrigger}\n",
}


def test_a_project_of_azure_functions(tmp_path: Path) -> None:
    """A folder with host.json is an app as a whole, whatever else is in it."""
    (tmp_path / "host.json").write_text("{}")
    (tmp_path / "app.py").write_text("from triggerfish import App\napp = App()\n")
    assert find_app(tmp_path, "run") == "."


def test_files_that_are_no_apps(tmp_path: Path) -> None:
    """Other programs, tests, and other tools' files are no apps, and none is run. The error lists those looked at."""
    put(tmp_path, "shop/__init__.py", "")
    put(tmp_path, "exits.py", "raise SystemExit('it was run')")
    for path, source in OTHERS.items():
        put(tmp_path, path, source)
    assert problem(tmp_path) == (
        "No app was found in FOLDER. Looked for a call of triggerfish's App, or a declaration of functions, in "
        "exits.py, large.py, own.py, scaledobject.yaml, serverless.yml, text.py, uses.py, web.py, shop/__init__.py. "
        "Name the app: triggerfish run app.py."
    )


def test_no_files(tmp_path: Path) -> None:
    """In a folder without any file that may be an app, the error says where to run the command."""
    put(tmp_path, "README.md", "")
    assert problem(tmp_path, "check").startswith("No app was found in FOLDER, which has no .py")
    assert problem(tmp_path, "check").endswith("or name the app: triggerfish check path/to/app.py.")


def test_several_apps(tmp_path: Path) -> None:
    """If there are several, the error lists them with a command that names one."""
    for path in ("shop.py", "src/web.py"):
        put(tmp_path, path)
    put(tmp_path, "app.yaml", DECLARATION)
    found = problem(tmp_path, "up")
    assert found == "FOLDER has 3 apps: app.yaml, shop.py, src/web.py. Name one: triggerfish up app.yaml."


def test_many_apps(tmp_path: Path) -> None:
    """Of many apps, the error names ten."""
    for number in range(25):
        put(tmp_path, f"shop_{number:02}.py")
    assert "has 25 apps: shop_00.py, " in problem(tmp_path)
    assert "shop_09.py and 15 more. Name one: triggerfish run shop_00.py." in problem(tmp_path)


def test_a_folder_with_too_many_files(tmp_path: Path) -> None:
    """A folder with more files than a project has is not searched."""
    for number in range(1001):
        (tmp_path / f"data_{number}.json").touch()
    assert problem(tmp_path) == "FOLDER has more than 1,000 files. Name the app: triggerfish run app.py."
