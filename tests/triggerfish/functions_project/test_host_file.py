"""host.json, and the app settings that override it."""

import logging
from pathlib import Path
from typing import Any

import pytest

from listeners.functions.triggers import ListTrigger
from tests.triggerfish.functions_project.projects import LIST, add_function, loaded, mistakes, new_project

EMPTY = "def main(entry): ..."
JOB_HOST = "AzureFunctionsJobHost"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with three functions."""
    new_project(tmp_path / "shop", host={"functionTimeout": "00:01:00", "functions": ["One", "Two"]})
    for name in ("One", "Two", "Three"):
        add_function(tmp_path / "shop", name, EMPTY, LIST)
    return tmp_path / "shop"


@pytest.mark.parametrize("separator", [":", "__"])
def test_app_settings_override_the_file(project: Path, monkeypatch: pytest.MonkeyPatch, separator: str) -> None:
    """The time limit, the retries, and single items of the list of functions."""
    for name, value in (
        ("functionTimeout", "00:00:07"),
        ("functions__1", "Three"),
        ("retry__maxRetryCount", "2"),
    ):
        monkeypatch.setenv(f"{JOB_HOST}__{name}".replace("__", separator), value)
    functions = loaded(project).app.functions
    assert list(functions) == ["One", "Three"]
    trigger = functions["One"].trigger
    assert isinstance(trigger, ListTrigger)
    assert (trigger.call_timeout_seconds, trigger.max_deliveries) == (7, 3)


def test_functions_without_a_list_in_the_file(project: Path) -> None:
    """The settings may be in local.settings.json, in any order, and their numbers may have gaps."""
    values = {f"{JOB_HOST}__functions__{number}": name for number, name in ((10, "Three"), (2, "One"))}
    new_project(project, values=values)
    assert set(loaded(project).app.functions) == {"One", "Three"}


def test_other_settings_are_named(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One line names those that have no effect, without their values."""
    monkeypatch.setenv(f"{JOB_HOST}__logging__logLevel__default", "Trace-0")
    monkeypatch.setenv(f"{JOB_HOST}__functions__x", "Trace-0")
    with caplog.at_level(logging.WARNING):
        loaded(project)
    [message] = [record.getMessage() for record in caplog.records if JOB_HOST in record.getMessage()]
    assert f"{JOB_HOST}__functions__x, {JOB_HOST}__logging__logLevel__default" in message
    assert "Trace-0" not in message


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("functionTimeout", "soon", f"invalid {JOB_HOST}__functionTimeout 'soon'"),
        ("functions__0", "Wrok", "invalid host.json.functions 'Wrok': The project has no such function."),
        ("retry__maxRetryCount", "many", f"{JOB_HOST}__retry__maxRetryCount: Give maxRetryCount"),
    ],
)
def test_mistakes_name_the_setting(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, text: str
) -> None:
    """A value that the file could not have is a mistake."""
    monkeypatch.setenv(f"{JOB_HOST}__{name}", value)
    assert [one for one in mistakes(project) if text in one]


@pytest.mark.parametrize("version", ["1.0", "2", 2.0, 2, None, ""])
def test_another_version(project: Path, version: Any) -> None:
    """Azure reads files of the version 2.0 only, written as text."""
    new_project(project, host={"version": version})
    [mistake] = mistakes(project)
    assert "host.json.version" in mistake
    assert mistake.endswith('Only projects of this version run. Write "version": "2.0".')
