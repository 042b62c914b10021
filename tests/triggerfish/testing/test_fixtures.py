"""The fixtures for pytest, used as a project uses them."""

import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 60
CONFTEST = """
import pytest
from triggerfish import App

pytest_plugins = ["triggerfish.testing.pytest"]
app = App("shop")
handled = []

@app.list_trigger(keys="orders")
async def on_order(order: str) -> None:
    handled.append(order)
"""
APP_FIXTURE = """
@pytest.fixture
def app_to_run():
    return app
"""
TESTS = """
from conftest import handled

MARK
async def test_running(running_app, app_server):
    app_server.client().rpush("orders", "1")
    await running_app.until_idle()
    assert handled == ["1"]

def test_server(app_server):
    assert app_server.client().dbsize() == 0
"""


def ran(folder: Path, conftest: str, tests: str, *options: str) -> str:
    """Run tests in a folder and return what pytest prints."""
    (folder / "conftest.py").write_text(conftest)
    (folder / "test_shop.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:cloudcoil", *options, "."]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False).stdout


@pytest.mark.parametrize(
    ("mark", "options"),
    [
        ("import pytest\n@pytest.mark.asyncio", ()),
        ("", ("-o", "asyncio_mode=auto")),
    ],
    ids=["strict", "auto"],
)
def test_a_running_app(tmp_path: Path, mark: str, options: tuple[str, ...]) -> None:
    """The app runs during a test, on the server that the test has too. Each test has an empty one."""
    assert "2 passed" in ran(tmp_path, CONFTEST + APP_FIXTURE, TESTS.replace("MARK", mark), *options)


def test_with_the_plugin_of_anyio(tmp_path: Path) -> None:
    """Without pytest-asyncio, anyio's plugin runs the async fixture."""
    backend = "\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    without = "import sys\nsys.modules['pytest_asyncio'] = None\n"
    tests = TESTS.replace("MARK", "import pytest\n@pytest.mark.anyio")
    assert "2 passed" in ran(tmp_path, without + CONFTEST + APP_FIXTURE + backend, tests, "-p", "no:asyncio")


def test_without_an_app(tmp_path: Path) -> None:
    """A test that runs the app and has not named it fails with the fix."""
    output = ran(tmp_path, CONFTEST, TESTS.replace("MARK", ""), "-o", "asyncio_mode=auto")
    assert "app_to_run: Define this fixture in conftest.py and have it return your app" in output
    assert "1 passed, 1 error" in output
