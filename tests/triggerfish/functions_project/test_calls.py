"""What a function gets and returns: shapes, contexts, outputs."""

import sys
from pathlib import Path
from typing import Any

import pytest

from listeners.errors import BindingError
from listeners.functions.entries import RedisMessage
from listeners.functions.triggers import StreamTrigger
from tests.triggerfish.functions_project.projects import (
    LIST,
    PUBSUB,
    STREAM,
    add_function,
    command,
    decorated,
    entry,
    loaded,
    new_project,
)
from triggerfish.functions_project.commands import InputCommand, OutputCommand
from triggerfish.functions_project.shapes import binding_data
from triggerfish.testing import call

#: Keeps what it got in the module `seen`.
KEEPING = "import seen\ndef main({parameters}):\n    seen.values.append({value})\n    return {returned}\n"
ENTRIES: dict[str, tuple[dict[str, Any], RedisMessage]] = {
    "list": (LIST, entry("work", b'{"a": 1}')),
    "list of no text": (LIST, entry("work", b"\xff\x00a\xe2\x82")),
    "empty": (LIST, entry("work", b"")),
    "stream": (STREAM, entry("events", fields={b"a": b"b", b"c": '\u00e9\u2028\x85\x7f\x01"\\/\n'.encode()}, id="5-1")),
    "stream of no text": (STREAM, entry("events", fields={b"\xff": b"\x80x"}, id="5-1")),
    "pubsub": (PUBSUB, entry("news", b"hello")),
    "pubsub of no text": (PUBSUB, entry("news", b"\xff")),
    "pattern": ({**PUBSUB, "pattern": True, "channel": "n*"}, entry("news", b"hello", pattern="n*")),
}
#: For each: what version 1.0.0 passes as text and as bytes, and the preview as text and as bytes.
STREAM_TEXT = '{"Id":"5-1","Values":{"a":"b","c":"é\\u2028\\u0085\x7f\\u0001\\"\\\\/\\n"}}'
NO_TEXT_STREAM = '{"Id":"5-1","Values":{"\ufffd":"\ufffdx"}}'
PUBSUB_TEXT = '{"SubscriptionChannel":"news","Channel":"news","Message":"%s"}'
SHAPES: dict[str, tuple[str, bytes, str, bytes]] = {
    "list": ('{"a": 1}', b'{"a": 1}') * 2,
    "list of no text": ("\ufffd\x00a\ufffd", b"\xff\x00a\xe2\x82") * 2,
    "empty": ("", b"") * 2,
    "stream": (STREAM_TEXT, STREAM_TEXT.encode()) * 2,
    "stream of no text": (NO_TEXT_STREAM, NO_TEXT_STREAM.encode()) * 2,
    "pubsub": (PUBSUB_TEXT % "hello", (PUBSUB_TEXT % "hello").encode(), "hello", b"hello"),
    "pubsub of no text": (PUBSUB_TEXT % "\ufffd", (PUBSUB_TEXT % "\ufffd").encode(), "\ufffd", b"\xff"),
    "pattern": (
        '{"SubscriptionChannel":"n*","Channel":"news","Message":"hello"}',
        b'{"SubscriptionChannel":"n*","Channel":"news","Message":"hello"}',
        "hello",
        b"hello",
    ),
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a module in which functions keep what they got."""
    new_project(tmp_path / "shop")
    (tmp_path / "shop" / "seen.py").write_text("values = []")
    return tmp_path / "shop"


def seen() -> list[Any]:
    """Return what the functions have kept."""
    values: list[Any] = sys.modules["seen"].values
    return values


@pytest.mark.parametrize("version", ["1.0.0", "preview"])
@pytest.mark.parametrize("data_type", ["string", "binary"])
@pytest.mark.parametrize("kind", ENTRIES)
async def test_shapes(project: Path, kind: str, data_type: str, version: str) -> None:
    """A parameter gets text or bytes, exactly as the version of the extension passes them."""
    binding, message = ENTRIES[kind]
    new_project(project, values={"TRIGGERFISH_REDIS_EXTENSION": version})
    source = KEEPING.format(parameters="entry", value="entry", returned=None)
    add_function(project, "Work", source, {**binding, "dataType": data_type})
    assert (await call(loaded(project).app, "Work", message)).succeeded
    assert seen() == [SHAPES[kind][2 * (version == "preview") + (data_type == "binary")]]


@pytest.mark.parametrize("prefix", ["", "async "])
async def test_a_context(project: Path, prefix: str) -> None:
    """A parameter `context` has the attributes of func.Context, with retries counted from 0."""
    source = KEEPING.format(parameters="entry, context", value="context", returned=5).replace("def", f"{prefix}def")
    add_function(project, "Work", source, LIST, retry={"strategy": "fixedDelay", "maxRetryCount": 6})
    app = loaded(project).app
    assert (await call(app, "Work", "a")).succeeded
    assert (await call(app, "Work", "b", deliveries=3)).succeeded
    first, third = seen()
    assert (first.function_name, first.function_directory) == ("Work", str(project / "Work"))
    assert (first.retry_context.retry_count, first.retry_context.max_retry_count) == (0, 6)
    assert third.retry_context.retry_count == 2
    assert first.invocation_id != third.invocation_id
    assert (first.trace_context.trace_parent, first.trace_context.Attributes) == ("", {})
    assert first.retry_context.rpc_exception.message == ""


async def test_a_context_as_a_binding(project: Path) -> None:
    """A binding may have the name `context`."""
    source = KEEPING.format(parameters="context", value="context", returned=None)
    add_function(project, "Work", source, {**LIST, "name": "context"})
    assert (await call(loaded(project).app, "Work", "a")).succeeded
    assert seen() == ["a"]


async def test_the_annotations_of_azure_functions(project: Path) -> None:
    """func.Out and func.Context are only annotations, and the thread has the invocation's ID."""
    source = """
import azure.functions as func
import seen
app = func.FunctionApp()

@app.generic_trigger(arg_name="entry", type="redisListTrigger", connection="cache", key="work")
@app.generic_output_binding(arg_name="result", type="redis", connection="cache", command="DEL")
def work(entry: str, result: func.Out[str], context: func.Context) -> None:
    result.set(None)
    seen.values.append(context.thread_local_storage.invocation_id == context.invocation_id)
"""
    assert (await call(loaded(decorated(project, source)).app, "work", "a")).succeeded
    assert seen() == [True]


async def test_a_plain_wrapper_of_an_async_function(project: Path) -> None:
    """The function runs, although the wrapper returns before."""
    source = """
import functools, seen

def wrapped(function):
    @functools.wraps(function)
    def inner(**arguments):
        return function(**arguments)
    return inner

@wrapped
async def main(entry):
    seen.values.append(entry)
"""
    add_function(project, "Work", source, LIST)
    assert (await call(loaded(project).app, "Work", "a")).succeeded
    assert seen() == ["a"]


async def test_a_return_value_without_a_binding(project: Path) -> None:
    """It has no effect, as in Azure."""
    source = KEEPING.format(parameters="entry", value="entry", returned="{'any': 'thing'}")
    add_function(project, "Work", source, LIST)
    assert (await call(loaded(project).app, "Work", "a")).succeeded


async def test_a_failure_names_the_users_line(project: Path) -> None:
    """The line is in the function's file."""
    add_function(project, "Work", "def main(entry):\n    raise ValueError(entry)", LIST)
    result = await call(loaded(project).app, "Work", "a")
    assert result.retried
    assert result.error == "ValueError: a"


@pytest.mark.parametrize(
    ("value", "commands"),
    [
        (None, []),
        ("", [["DEL", ""]]),
        ("a", [["DEL", "a"]]),
        ("a  b", [["DEL", "a", "", "b"]]),
        (b"a \xff", [["DEL", b"a", b"\xff"]]),
        (["a", "b c"], [["DEL", "a"], ["DEL", "b", "c"]]),
        ([], []),
    ],
)
def test_outputs(value: object, commands: list[list[str | bytes]]) -> None:
    """Text is arguments with single spaces between them, and a list is a command for each."""
    assert OutputCommand("result", "DEL").calls(value) == commands


@pytest.mark.parametrize("value", [5, {"a": 1}, [None]])
async def test_an_output_that_is_no_command(project: Path, value: object) -> None:
    """The call fails with an error that names the binding and the type."""
    source = f"def main(entry):\n    return {value!r}"
    add_function(project, "Work", source, LIST, command("out", "DEL", "$return"))
    result = await call(loaded(project).app, "Work", "a")
    assert result.retried
    assert "invalid $return" in result.error
    assert "The arguments of DEL are text" in result.error


def test_the_arguments_of_an_input() -> None:
    """Names in braces stand for the entry's data, in any case, and spaces separate arguments."""
    one = InputCommand("value", "hget {Key} {values.a} {Id}", is_binary=False)
    data = {"key": "k", "values.a": "two words", "id": "\udcff"}
    assert one.arguments(data) == ["HGET", b"k", b"two", b"words", b"\xff"]


@pytest.mark.parametrize("written", ["UserId", "userid"])
async def test_a_field_in_a_command(written: str) -> None:
    """Names of fields may have capital letters; one in other letters is only found if there is no other."""
    message = entry("events", fields={b"UserId": b"5", b"ID": b"1", b"id": b"2"}, id="5-1")
    data = binding_data(message, StreamTrigger(keys=("events",)))
    one = InputCommand("value", f"HGET {{Values.id}} {{Values.ID}}:{{values.{written}}}", is_binary=False)
    assert one.arguments(data) == ["HGET", b"2", b"1:5"]
    with pytest.raises(BindingError, match="The entry has no field Name"):
        InputCommand("value", "GET {Values.Name}", is_binary=False).arguments(data)


@pytest.mark.parametrize(
    ("reply", "text", "raw"),
    [
        (None, None, None),
        (b"\xffa", "\ufffda", b"\xffa"),
        (5, "5", b"5"),
        (True, "1", b"1"),
        (3.5, "3.5", b"3.5"),
        ("OK", "OK", b"OK"),
    ],
)
def test_replies(reply: object, text: str | None, raw: bytes | None) -> None:
    """An input gets text or bytes."""
    assert InputCommand("value", "GET a", is_binary=False).value(reply) == text
    assert InputCommand("value", "GET a", is_binary=True).value(reply) == raw
