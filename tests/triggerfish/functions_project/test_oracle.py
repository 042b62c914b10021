"""Functions get, and do with outputs, what Microsoft's own worker was recorded to do, byte for byte."""

import asyncio
import inspect
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from listeners.functions.context import Context
from listeners.functions.entries import Fields, RedisMessage
from tests.triggerfish.functions_project.oracle import cases
from tests.triggerfish.functions_project.oracle.record import shown_value
from tests.triggerfish.functions_project.projects import add_function, decorated, loaded, mistakes, new_project

RECORDED = json.loads((Path(__file__).parent / "oracle" / "recorded.json").read_text())
MODELS = {"v1": "__app__.Work", "v2": "function_app"}


class Client:
    """Answers GET with a reply, and keeps other commands."""

    def __init__(self, reply: bytes | None, outputs: list[list[str | bytes]]) -> None:
        self._reply = reply
        self._outputs = outputs

    def execute_command(self, *arguments: str | bytes) -> Any:
        """Answer a command."""
        if arguments[0] == "GET":
            return self._reply
        self._outputs.append([*arguments])
        return 1


class AsyncClient(Client):
    """The same for async functions."""

    async def execute_command(self, *arguments: str | bytes) -> Any:
        """Answer a command."""
        return super().execute_command(*arguments)


class Clients:
    """The clients of a call."""

    def __init__(self, reply: bytes | None) -> None:
        self.outputs: list[list[str | bytes]] = []
        self.on_loop: Any = AsyncClient(reply, self.outputs)
        self.on_threads: Any = Client(reply, self.outputs)


def project(folder: Path, model: str, source: str, bindings: list[dict[str, Any]]) -> Path:
    """Write a case as a project."""
    new_project(folder)
    if model == "v2":
        return decorated(folder, cases.decorated_source(source, bindings))
    add_function(folder, cases.NAME, source, *bindings)
    return folder


def message(entry: dict[str, Any], key: str) -> RedisMessage:
    """Return the third of five deliveries of a case's entry."""
    text = entry.get("payload", b"").decode("utf-8", "surrogateescape")
    fields = Fields(entry["fields"].items()) if "fields" in entry else None
    return RedisMessage(key, text, entry.get("id"), fields, deliveries=3)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", cases.CALLS)
def test_a_call(tmp_path: Path, name: str, model: str) -> None:
    """What the function gets is equal, and what it returns or sets becomes the commands that the host would send."""
    case, recorded = cases.CALLS[name], RECORDED["calls"][name][model]
    trigger = case["bindings"][0]
    app = loaded(project(tmp_path, model, case["source"], case["bindings"])).app
    clients = Clients(case.get("reply"))
    result = app.functions[cases.NAME].handler(
        message(case["entry"], trigger.get("key", trigger.get("channel"))), Context(state=None, clients=clients)
    )
    if inspect.iscoroutine(result):
        asyncio.run(result)
    received = [shown_value(one) for one in sys.modules[MODELS[model]].received]
    assert received == recorded["received"]
    sent = [*recorded["outputs"].values()]
    if any(binding["name"] == "$return" for binding in case["bindings"]):
        sent.append(recorded["returned"])
    assert clients.outputs == [command for one in sent for command in commands(one)]


def commands(sent: dict[str, Any] | None) -> list[list[str | bytes]]:
    """Return the commands that the host's extension makes of what the worker sends: text is split at single spaces."""
    if sent is None:
        return []
    [(kind, value)] = sent.items()
    if kind == "bytes":
        return [["DEL", *bytes.fromhex(value).split(b" ")]]
    values = json.loads(value) if kind == "json" else [value]
    return [["DEL", *one.split(" ")] for one in values]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", cases.REFUSED)
def test_a_refusal(tmp_path: Path, name: str, model: str) -> None:
    """A function that Microsoft's worker does not load is a mistake here."""
    assert RECORDED["refused"][name][model] == {"refused": True}
    assert mistakes(project(tmp_path, model, *cases.REFUSED[name]))
