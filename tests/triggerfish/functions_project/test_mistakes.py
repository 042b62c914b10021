"""Mistakes in a project: each is named with its function, its field and the fix, and all are reported at once."""

from pathlib import Path
from typing import Any

import pytest

from listeners.errors import ConfigurationError
from tests.triggerfish.functions_project.projects import (
    LIST,
    PUBSUB,
    STREAM,
    add_function,
    command,
    mistakes,
    new_project,
)
from triggerfish.apps import load

EMPTY = "def main(entry): ..."
WITH_VALUE = "def main(entry, value): ..."
BLOB = {"type": "blob", "name": "value", "direction": "out", "path": "p", "connection": "storage"}
BINDINGS: dict[str, tuple[list[Any], str, str]] = {
    "no trigger": ([command("in", "GET a")], WITH_VALUE, "invalid functions.Work.bindings 'redis'"),
    "two triggers": ([LIST, {**STREAM, "name": "value"}], WITH_VALUE, "redisListTrigger, redisStreamTrigger"),
    "no bindings": ([], EMPTY, "functions.Work.bindings: "),
    "no object": (["entry"], EMPTY, "functions.Work.bindings[0]: "),
    "no type": ([{"name": "entry"}], EMPTY, "functions.Work.bindings[0].type"),
    "no name": ([{**LIST, "name": ""}], EMPTY, "functions.Work.bindings[0].name"),
    "one name twice": ([LIST, command("in", "GET a", "entry")], EMPTY, "Two bindings have this name."),
    "misspelt type": ([{**LIST, "type": "redisListTriger"}], EMPTY, "functions.Work.bindings"),
    "misspelt trigger": ([{**LIST, "type": "rediListTrigger"}], EMPTY, "Did you mean redisListTrigger?"),
    "misspelt command": ([LIST, {**command("in", "GET a"), "type": "redis2"}], WITH_VALUE, "Did you mean redis?"),
    "a foreign output": ([LIST, BLOB], WITH_VALUE, "invalid functions.Work.value.type 'blob'"),
    "a trigger as output": ([{**LIST, "direction": "out"}], EMPTY, "A trigger is an input."),
    "inout": ([LIST, command("inout", "GET a")], WITH_VALUE, "invalid functions.Work.bindings[1].direction 'inout'"),
    "no direction": ([LIST, {**command("in", "GET a"), "direction": ""}], WITH_VALUE, "Give in or out."),
    "$return as input": ([LIST, command("in", "GET a", "$return")], EMPTY, "$return is an output."),
    "data type": ([{**LIST, "dataType": "stream"}], EMPTY, "Give string or binary."),
    "a misplaced connection": (
        [{**LIST, "name": "cache:6380,password=hunter2"}], EMPTY, "functions.Work.bindings[0].name: A binding has",
    ),
    "no data type": ([{**LIST, "dataType": False}], EMPTY, "Give string or binary."),
    "cardinality": ([{**LIST, "cardinality": "many"}], EMPTY, "called for one entry"),
    "durable": ([{"type": "orchestrationTrigger", "name": "entry"}], EMPTY, "Durable Functions do not run here."),
    "durable client": (
        [LIST, {"type": "durableClient", "name": "value", "direction": "in"}], WITH_VALUE, "Durable Functions",
    ),
    "unknown option": ([{**LIST, "maxBatchSise": 5}], EMPTY, "Did you mean maxBatchSize?"),
    "option twice": ([{**LIST, "count": 5, "maxBatchSize": 5}], EMPTY, "It means the same as count."),
    "no key": ([{key: value for key, value in LIST.items() if key != "key"}], EMPTY, "functions.Work.key: "),
    "no connection": (
        [{key: value for key, value in LIST.items() if key != "connection"}], EMPTY, "functions.Work.connection: ",
    ),
    "no channel": (
        [{key: value for key, value in PUBSUB.items() if key != "channel"}], EMPTY, "functions.Work.channel: ",
    ),
    "batch size": ([{**LIST, "maxBatchSize": 0}], EMPTY, "invalid functions.Work.maxBatchSize 0"),
    "direction of a list": ([{**LIST, "listDirection": "UP"}], EMPTY, "Give LEFT or RIGHT."),
    "unknown setting": ([{**PUBSUB, "channel": "%NOWHERE%"}], EMPTY, "There is no app setting NOWHERE."),
    "no command": ([LIST, command("in", "")], WITH_VALUE, "functions.Work.value.command"),
    "a write as input": ([LIST, command("in", "SET a b")], WITH_VALUE, "An input reads one value"),
    "unknown name": ([LIST, command("in", "GET {Message}")], WITH_VALUE, "Use {Key}, {Value}."),
    "unknown name of a stream": ([STREAM, command("in", "GET {Value}")], WITH_VALUE, "{Values.FIELD}"),
    "a field without a name": ([STREAM, command("in", "GET {Values.}")], WITH_VALUE, "This trigger has no {Values.}."),
    "arguments": ([LIST, command("out", "DEL a")], WITH_VALUE, "The command of an output has no arguments"),
    "another connection": ([LIST, command("in", "GET a", connection="x")], WITH_VALUE, "connection of the trigger"),
    "option of a command": ([LIST, command("in", "GET a", key="a")], WITH_VALUE, "A redis binding has no such option."),
    "no parameter": ([LIST, command("in", "GET a")], EMPTY, "The function has no parameter for this binding."),
    "no binding": ([LIST], WITH_VALUE, "functions.Work(value): It has no binding."),
    "a model": ([LIST], "def main(entry: dict): ...", "It gets text"),
    "an output that is no Out": ([LIST, command("out", "DEL")], "def main(entry, value: str): ...", "func.Out[str]"),
    "positional-only": ([LIST], "def main(entry, /): ...", "functions.Work(entry): Arguments are passed by name"),
    "a positional-only context": ([LIST], "def main(context, /, entry): ...", "functions.Work(context): Arguments"),
    "an undefined type": ([LIST], "def main(entry: 'Nothing'): ...", "NameError"),
    "another context": ([LIST], "def main(entry, context: str): ...", "functions.Work(context)"),
    "a generator": ([LIST], "def main(entry):\n  yield", "It is a generator"),
    "no main": ([LIST], "def mian(entry): ...", "Did you mean mian?"),
    "raises": ([LIST], "1 / 0", "ZeroDivisionError"),
    "exits": ([LIST], "raise SystemExit(5)", "SystemExit"),
    "no module": ([LIST], "import not_installed", "No module named 'not_installed'"),
}  # fmt: skip
FILES = {
    "no JSON": ("Work/function.json", b"\xef\xbb\xbf{", "Work/function.json: It is not JSON: Expecting"),
    "no object": ("Work/function.json", b"[]", "It is not a JSON object."),
    "no text": ("Work/function.json", b"\xff\xfe{\0}\0", "It is not UTF-8 text."),
    "a key twice": ("Work/function.json", b'{"bindings": [], "bindings": []}', "a key is given twice"),
    "deep": ("Work/function.json", b"[" * 100_000, "It is not JSON"),
    "host.json": ("host.json", b"{'version': 2}", "host.json: It is not JSON"),
    "functionTimeout": ("host.json", b'{"functionTimeout": "5 minutes"}', "invalid host.json.functionTimeout"),
    "functions": ("host.json", b'{"functions": "Work"}', "invalid host.json.functions"),
    "retry": ("host.json", b'{"retry": {"maxRetryCount": true}}', "host.json.retry: Give maxRetryCount"),
    "no such function": ("host.json", b'{"functions": ["Wrok"]}', "invalid host.json.functions 'Wrok'"),
    "all left out": ("host.json", b'{"functions": []}', "None of its functions"),
}
SCRIPTS = {
    "missing": ({"scriptFile": "work.py"}, "invalid functions.Work.scriptFile 'work.py': There is no such file."),
    "outside": ({"scriptFile": "../../other.py"}, "Give a Python file of the project"),
    "JavaScript": ({"scriptFile": "index.js"}, "Give a Python file of the project"),
    "a number": ({"scriptFile": 5}, "must be text"),
    "a null character": ({"scriptFile": "a\0.py"}, "It is no path."),
    "a long name": ({"scriptFile": "a" * 300 + ".py"}, "It is no path."),
    "disabled": ({"disabled": 5}, "invalid functions.Work.disabled 5: Give true, false, or the name"),
    "entry point": ({"entryPoint": "run"}, "invalid functions.Work.entryPoint 'run'"),
    "retry": ({"retry": {"strategy": "fixedDelay"}}, "functions.Work.retry: Give maxRetryCount"),
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return new_project(tmp_path / "shop")


@pytest.mark.parametrize(("bindings", "source", "text"), BINDINGS.values(), ids=BINDINGS.keys())
def test_a_mistake_in_a_function(project: Path, bindings: list[Any], source: str, text: str) -> None:
    """It is the only one, and the text names it."""
    add_function(project, "Work", source, *bindings)
    [mistake] = mistakes(project)
    assert text in mistake
    assert "hunter2" not in mistake


@pytest.mark.parametrize(("name", "content", "text"), FILES.values(), ids=FILES.keys())
def test_a_mistake_in_a_file(project: Path, name: str, content: bytes, text: str) -> None:
    """It names the file, and shows nothing of its content."""
    add_function(project, "Work", EMPTY, LIST)
    (project / name).write_bytes(content)
    [mistake] = mistakes(project)
    assert text in mistake


@pytest.mark.parametrize(("more", "text"), SCRIPTS.values(), ids=SCRIPTS.keys())
def test_a_mistake_beside_the_bindings(project: Path, more: dict[str, Any], text: str) -> None:
    """Scripts, entry points and retries."""
    add_function(project, "Work", EMPTY, LIST, **more)
    [mistake] = mistakes(project)
    assert text in mistake


def test_a_dot_in_a_name(project: Path) -> None:
    """The error names the folder, not a package that is missing."""
    add_function(project, "my.work", EMPTY, LIST)
    [mistake] = mistakes(project)
    assert mistake.startswith("invalid function 'my.work': A function's folder has no dot in its name.")


def test_all_mistakes_at_once(project: Path) -> None:
    """One run reports the mistakes of all files and functions."""
    new_project(project, host={"functionTimeout": "soon"}, values={"VAULT": "@Microsoft.KeyVault(x)"})
    add_function(project, "One", "1 / 0", {**LIST, "key": "%NOWHERE%", "maxBatchSize": -1})
    add_function(project, "Two", EMPTY, LIST, command("in", "SET a b"), command("out", "DEL a", "other"))
    add_function(project, "Three", EMPTY, {**LIST, "connection": "nowhere"})
    found = mistakes(project)
    for text in (
        "host.json.functionTimeout", "VAULT", "functions.One.key", "functions.One.maxBatchSize", "ZeroDivisionError",
        "functions.Two.value.command", "functions.Two.other.command", "functions.Two.value: ",
        "invalid connection 'nowhere'",
    ):  # fmt: skip
        assert [one for one in found if text in one], (text, found)


def test_a_function_that_cannot_be_read_is_one_that_exists(project: Path) -> None:
    """host.json may name it, so its file is the only mistake."""
    new_project(project, host={"functions": ["Work"]})
    add_function(project, "Work", EMPTY, LIST)
    (project / "Work" / "function.json").write_text("{")
    [mistake] = mistakes(project)
    assert mistake.startswith("Work/function.json: ")


@pytest.mark.parametrize("files", [(), ("host.json",)], ids=["no host.json", "no functions"])
def test_a_folder_that_is_no_project(tmp_path: Path, files: tuple[str, ...]) -> None:
    """The error names the folder."""
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(ConfigurationError, match=r"host\.json|function_app\.py") as caught:
        load(str(tmp_path))
    assert str(tmp_path) in str(caught.value)
