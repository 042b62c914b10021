"""Projects of Azure Functions in temporary folders."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from listeners.errors import ConfigurationError
from listeners.functions.entries import Fields, RedisMessage
from triggerfish.functions_project.project import Project, load_project

__all__ = [
    "LIST", "PUBSUB", "STREAM", "add_function", "command", "decorated", "entry", "loaded", "mistakes",
    "new_project",
]  # fmt: skip

LIST = {"type": "redisListTrigger", "name": "entry", "direction": "in", "connection": "cache", "key": "work"}
STREAM = {**LIST, "type": "redisStreamTrigger", "key": "events"}
PUBSUB = {"type": "redisPubSubTrigger", "name": "entry", "direction": "in", "connection": "cache", "channel": "news"}
#: An app in the model v2 with one function.
DECORATED = """
import azure.functions as func

app = func.FunctionApp()


@app.function_name("Work")
@app.generic_trigger(arg_name="entry", type="redisListTrigger", connection="cache", key="work")
def work(entry: str) -> None: ...
"""


def command(direction: str, text: str, name: str = "value", **options: Any) -> dict[str, Any]:
    """Return a binding with a command."""
    return {"type": "redis", "name": name, "direction": direction, "connection": "cache", "command": text, **options}


def new_project(
    folder: Path,
    *,
    connection: str = "127.0.0.1:6379",
    host: Mapping[str, Any] | None = None,
    values: Mapping[str, Any] | None = None,
) -> Path:
    """Write host.json and local.settings.json, in which `cache` is a connection string."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "host.json").write_text(json.dumps({"version": "2.0", **(host or {})}))
    local = {
        "IsEncrypted": False,
        "Values": {"FUNCTIONS_WORKER_RUNTIME": "python", **(values or {})},
        "ConnectionStrings": {"cache": connection},
    }
    (folder / "local.settings.json").write_text(json.dumps(local))
    return folder


def add_function(folder: Path, name: str, source: str, *bindings: Mapping[str, Any], **more: Any) -> None:
    """Write a function of the model v1. Keywords are further properties of its function.json."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(source)
    (folder / name / "function.json").write_text(json.dumps({"bindings": bindings, **more}))


def decorated(folder: Path, source: str = DECORATED) -> Path:
    """Write function_app.py of the model v2."""
    (folder / "function_app.py").write_text(source)
    return folder


def mistakes(folder: Path) -> list[str]:
    """Return all mistakes that loading a project reports at once, each as a text. Each has a fix."""
    with pytest.raises(ConfigurationError) as caught:
        load_project(folder, ())
    found = [caught.value, *caught.value.others]
    assert all(one.fix.endswith(".") for one in found), caught.value
    return [ConfigurationError(one.field, one.value, one.fix).args[0] for one in found]


def loaded(folder: Path) -> Project:
    """Load a project whose connections are all defined by app settings."""
    return load_project(folder, ())


def entry(key: str, payload: bytes = b"", *, fields: Mapping[bytes, bytes] | None = None, **more: Any) -> RedisMessage:
    """Return a message: of a stream if it has fields."""
    return RedisMessage(
        key,
        payload.decode("utf-8", "surrogateescape"),
        fields=Fields(fields.items()) if fields is not None else None,
        **more,
    )
