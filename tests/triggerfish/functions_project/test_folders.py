"""The model v1: folders with function.json."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from listeners.functions.triggers import ListTrigger, PubSubTrigger, StreamTrigger
from tests.triggerfish.functions_project.projects import (
    LIST,
    PUBSUB,
    STREAM,
    add_function,
    command,
    loaded,
    new_project,
)
from triggerfish.testing import call

EMPTY = "def main(entry): ..."
#: How a function imports what several share, by the four ways that work in Azure.
IMPORTS = {
    "package": "from __app__.shared.words import shout",
    "relative": "from ..shared.words import shout",
    "root": "from shared.words import shout",
    "own folder": "from .helper import shout",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return new_project(tmp_path / "shop")


def test_the_three_triggers(project: Path) -> None:
    """A function has its folder's name, the app the project's, and the triggers the defaults of version 1.0.0."""
    add_function(project, "Elements", EMPTY, LIST)
    add_function(project, "Entries", EMPTY, STREAM)
    add_function(project, "Messages", EMPTY, {**PUBSUB, "channel": "news*"})
    app = loaded(project).app
    assert app.name == "shop"
    elements, entries, messages = (app.functions[name].trigger for name in ("Elements", "Entries", "Messages"))
    assert isinstance(elements, ListTrigger)
    assert elements == ListTrigger(connection="cache", keys=("work",), batch_size=16, messages_per_worker=16)
    assert isinstance(entries, StreamTrigger)
    assert (entries.consumer_group, entries.batch_size, entries.messages_per_worker) == ("Entries", 16, 16)
    assert isinstance(messages, PubSubTrigger)
    assert not messages.is_pattern
    assert messages.concurrency == 1


def test_the_names_of_all_versions(project: Path) -> None:
    """Each version of the extension has names of its own."""
    first = {"connectionStringSetting": "cache", "count": 3, "messagesPerWorker": 50, "listPopFromBeginning": False}
    plain = {key: value for key, value in LIST.items() if key != "connection"}
    add_function(project, "First", EMPTY, {**plain, **first, "pollingIntervalInMs": 50})
    add_function(project, "Second", EMPTY, {**LIST, "maxBatchSize": "%SIZE%", "listDirection": "RIGHT"})
    add_function(
        project,
        "Third",
        EMPTY,
        {**STREAM, "type": "RedisStreamsTrigger", "consumerGroup": "g", "deleteAfterProcess": True},
    )
    new_project(project, values={"SIZE": "7"})
    first_trigger, second, third = (one.trigger for one in loaded(project).app.functions.values())
    assert first_trigger == ListTrigger(
        connection="cache",
        keys=("work",),
        batch_size=3,
        messages_per_worker=50,
        list_pop_from_beginning=False,
        polling_interval_ms=50,
    )
    assert second == ListTrigger(
        connection="cache", keys=("work",), batch_size=7, messages_per_worker=7, list_pop_from_beginning=False
    )
    assert isinstance(third, StreamTrigger)
    assert (third.consumer_group, third.delete_after_process) == ("g", True)


def test_a_link_keeps_its_name(project: Path) -> None:
    """A deployment may redirect a link to another folder, and the app stays the same."""
    add_function(project, "Work", EMPTY, LIST)
    link = project.parent / "current"
    link.symlink_to(project)
    assert loaded(link).app.name == "current"
    assert loaded(project / "Work" / "..").app.name == "shop"


def test_a_key_may_contain_spaces(project: Path) -> None:
    """`key` is one key."""
    add_function(project, "Work", EMPTY, {**LIST, "key": "two words"})
    trigger = loaded(project).app.functions["Work"].trigger
    assert isinstance(trigger, ListTrigger)
    assert trigger.keys == ("two words",)


@pytest.mark.parametrize("statement", IMPORTS.values(), ids=IMPORTS.keys())
async def test_shared_code(project: Path, statement: str) -> None:
    """Functions import what they share in each of these ways."""
    (project / "shared").mkdir()
    (project / "shared" / "words.py").write_text("def shout(text): return text.upper()")
    source = f"{statement}\nseen = []\ndef main(entry): seen.append(shout(entry))"
    for name in ("One", "Two"):
        add_function(project, name, source, LIST)
        (project / name / "helper.py").write_text("def shout(text): return text.upper()")
    app = loaded(project).app
    for name in ("One", "Two"):
        assert (await call(app, name, "hello")).succeeded
        assert _module(name).seen == ["HELLO"]


def test_helpers_with_one_name(project: Path) -> None:
    """Two folders may each have a module of one name."""
    for name in ("One", "Two"):
        add_function(project, name, "from . import helper\ndef main(entry): ...", LIST)
        (project / name / "helper.py").write_text(f"name = {name!r}")
    loaded(project)
    assert (_module("One").helper.name, _module("Two").helper.name) == ("One", "Two")


def test_script_and_entry_point(project: Path) -> None:
    """scriptFile may be elsewhere in the project, and entryPoint any function in it."""
    (project / "handlers.py").write_text("def one(entry): ...\ndef two(entry): ...")
    for name in ("one", "two"):
        add_function(project, name, "", LIST, scriptFile="../handlers.py", entryPoint=name)
    assert list(loaded(project).app.functions) == ["one", "two"]


def test_only_functions_that_run_are_imported(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A function with another trigger is named and left out, and what its code needs may be missing."""
    add_function(project, "Work", EMPTY, LIST)
    http = {"type": "httpTrigger", "name": "req", "direction": "in", "authLevel": "anonymous"}
    add_function(project, "Web", "import not_installed", http, {"type": "http", "name": "$return", "direction": "out"})
    found = loaded(project)
    assert list(found.app.functions) == ["Work"]
    assert found.left_out == {"Web": "httpTrigger"}
    assert "Web is left out: its trigger is a httpTrigger" in caplog.text


@pytest.mark.parametrize(
    ("host", "values", "more"),
    [
        ({"functions": ["Kept"]}, {}, {}),
        ({}, {"AzureWebJobs.Off.Disabled": "true"}, {}),
        ({}, {"AzureWebJobs_Off_Disabled": "1"}, {}),
        ({}, {}, {"disabled": True}),
        ({}, {"OFF": "1"}, {"disabled": "OFF"}),
    ],
    ids=["host.json", "setting", "setting without dots", "function.json", "setting of function.json"],
)
def test_disabled_functions(
    project: Path, host: dict[str, object], values: dict[str, str], more: dict[str, object]
) -> None:
    """A function that is disabled in one of these ways is not even imported."""
    new_project(project, host=host, values=values)
    add_function(project, "Kept", EMPTY, LIST)
    add_function(project, "Off", "import not_installed", LIST, **more)
    assert list(loaded(project).app.functions) == ["Kept"]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("00:05:00", 300.0), ("1.00:00:00", 86_400.0), ("-1", 86_400.0), ("00:00:00.5", 0.5), ("10.00:00:00", 86_400.0)],
)
def test_the_time_limit(project: Path, written: str, seconds: float) -> None:
    """functionTimeout limits each call. The longest limit, a day, stands for none."""
    new_project(project, host={"functionTimeout": written})
    add_function(project, "Work", EMPTY, LIST)
    assert loaded(project).app.functions["Work"].trigger.call_timeout_seconds == seconds


@pytest.mark.parametrize(("count", "deliveries"), [(0, 1), (4, 5), (-1, 1_000_000)])
def test_retries(project: Path, count: int, deliveries: int) -> None:
    """The retries of a function or of the project are deliveries after the first."""
    retry = {"strategy": "fixedDelay", "maxRetryCount": count, "delayInterval": "00:00:01"}
    new_project(project, host={"retry": retry})
    add_function(project, "Default", EMPTY, LIST)
    add_function(project, "Own", EMPTY, LIST, retry={**retry, "maxRetryCount": 9})
    default, own = (one.trigger for one in loaded(project).app.functions.values())
    assert isinstance(default, ListTrigger)
    assert isinstance(own, ListTrigger)
    assert (default.max_deliveries, own.max_deliveries) == (deliveries, 10)


def test_files_with_comments_and_a_byte_order_mark(project: Path) -> None:
    """Files are read as the host of Azure Functions reads them."""
    add_function(project, "Work", EMPTY, LIST)
    for file in (project / "host.json", project / "local.settings.json", project / "Work" / "function.json"):
        text = json.dumps(json.loads(file.read_text()), indent=1).replace("{\n", '{ // "a comment"\n/* another\n */', 1)
        file.write_text(text, encoding="utf-8-sig")
    assert list(loaded(project).app.functions) == ["Work"]


async def test_commands_and_parameters_go_by_name(project: Path) -> None:
    """The order of parameters is free, and what is returned is none of them."""
    source = "def main(context, value, entry): ..."
    add_function(project, "Work", source, LIST, command("in", "GET {Value}"), command("out", "DEL", "$return"))
    assert list(loaded(project).app.functions) == ["Work"]


def _module(name: str) -> Any:
    return sys.modules[f"__app__.{name}"]
