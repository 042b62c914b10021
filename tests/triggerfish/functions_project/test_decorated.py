"""The model v2: function_app.py with decorators."""

import importlib.metadata
import sys
from pathlib import Path

import pytest

from listeners.errors import MissingExtraError
from listeners.functions.triggers import ListTrigger, StreamTrigger
from tests.triggerfish.functions_project.projects import DECORATED, decorated, loaded, mistakes, new_project
from triggerfish.functions_project.decorated import check_azure_functions
from triggerfish.testing import call

APP = """
import azure.functions as func
from orders import orders

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
app.register_functions(orders)


@app.retry(strategy="fixed_delay", max_retry_count="2", delay_interval="00:00:01")
@app.generic_trigger(
    arg_name="entry", type="redisStreamTrigger", connection="cache", key="events", max_batch_size=5, data_type="binary"
)
async def on_event(entry: bytes, context: func.Context) -> None:
    print(context.function_name, entry)


@app.route(route="hello")
def hello(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("hello")
"""
BLUEPRINT = """
import azure.functions as func

orders = func.Blueprint()
seen = []


@orders.function_name("Orders")
@orders.generic_trigger(
    arg_name="entry", type="redisListTrigger", connection="cache", key="work", polling_interval_in_ms=100,
    list_direction="RIGHT",
)
def on_order(entry: str) -> str:
    seen.append(entry)
    return "ignored"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return new_project(tmp_path / "shop")


async def test_decorators(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Triggers, blueprints, retries and names are those of the decorators; other triggers are left out."""
    (project / "orders.py").write_text(BLUEPRINT)
    found = loaded(decorated(project, APP))
    assert found.left_out == {"hello": "httpTrigger"}
    orders, on_event = found.app.functions["Orders"].trigger, found.app.functions["on_event"].trigger
    assert orders == ListTrigger(
        connection="cache",
        keys=("work",),
        polling_interval_ms=100,
        list_pop_from_beginning=False,
        batch_size=16,
        messages_per_worker=16,
    )
    assert on_event == StreamTrigger(
        connection="cache",
        keys=("events",),
        consumer_group="on_event",
        batch_size=5,
        messages_per_worker=5,
        max_deliveries=3,
    )
    assert (await call(found.app, "Orders", "element")).succeeded
    assert sys.modules["orders"].seen == ["element"]
    assert (await call(found.app, "on_event", {"a": "b"})).succeeded
    assert "Auth level" not in caplog.text


def test_two_projects_in_one_process(tmp_path: Path) -> None:
    """Each project has a function_app.py of its own."""
    for name in ("one", "two"):
        project = decorated(new_project(tmp_path / name), DECORATED.replace("Work", name.title()))
        assert list(loaded(project).app.functions) == [name.title()]


def test_another_script(project: Path) -> None:
    """A setting names the script, as in Azure."""
    new_project(project, values={"PYTHON_SCRIPT_FILE_NAME": "main_app.py"})
    (project / "main_app.py").write_text(DECORATED)
    assert list(loaded(project).app.functions) == ["Work"]


def test_both_models(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    """function_app.py wins, as in Azure, and a line tells so."""
    (project / "Old").mkdir()
    (project / "Old" / "function.json").write_text("{}")
    assert list(loaded(decorated(project)).app.functions) == ["Work"]
    assert "Old/function.json is not read" in caplog.text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("", "It has 0 function apps."),
        (f"{DECORATED}\nother = func.FunctionApp()", "It has 2 function apps."),
        ("import azure.functions as func\nx = 1 / 0", "ZeroDivisionError: division by zero at"),
        ("def broken(:", "SyntaxError"),
        ("import not_installed", "No module named 'not_installed'"),
        (DECORATED.replace("@app.function_name", "@app.generic_trigger('a', type='b')\n@app.function_name"), "trigger"),
        (f"{DECORATED}\n{DECORATED.partition('()')[2]}", "does not have a unique"),
        (DECORATED.partition("@app.generic")[0] + "def work(entry): ...", "does not have a trigger"),
    ],
    ids=["no app", "two apps", "raises", "syntax", "import", "two triggers", "two of one name", "no trigger"],
)
def test_mistakes_in_the_script(project: Path, source: str, text: str) -> None:
    """A script that cannot be used is one mistake that names it."""
    [mistake] = mistakes(decorated(project, source))
    assert mistake.startswith("function_app.py: ")
    assert text in mistake


def test_an_argument_that_json_cannot_hold(project: Path) -> None:
    """The error names the function."""
    [mistake] = mistakes(decorated(project, DECORATED.replace('"work")', "b'work')")))
    assert mistake.startswith("functions.Work.bindings: A binding has an argument that JSON cannot hold.")


def test_azure_functions_is_missing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra."""
    monkeypatch.setitem(sys.modules, "azure.functions", None)
    monkeypatch.setattr("listeners.runtime.extras.MODULES", {"azure": ("azure_functions_is_missing.here",)})
    [mistake] = mistakes(decorated(project))
    assert "pip install 'triggerfish[azure]'" in mistake


@pytest.mark.parametrize(("python", "version"), [((3, 12), "2.3.0"), ((3, 13), "1.26.0")])
def test_azure_functions_of_the_wrong_major(
    monkeypatch: pytest.MonkeyPatch, python: tuple[int, int], version: str
) -> None:
    """Release 2 needs Python 3.13, and earlier releases an older one."""
    monkeypatch.setattr(sys, "version_info", python)
    monkeypatch.setattr(importlib.metadata, "version", lambda _: version)
    with pytest.raises(MissingExtraError, match=f"azure-functions {version} is not for this Python"):
        check_azure_functions("function_app.py")
