"""`triggerfish dead`: summarize, list, show, requeue and purge dead letters."""

import asyncio
import contextlib
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from listeners.functions.entries import Entry
from listeners.keys import dead_letters_key
from tests.support.letters import add_letter
from triggerfish.cli.program import run_program
from triggerfish.testing.server import Server

SOME = ("redis-5.0", "redis-7.0", "valkey-9.1")
#: What a terminal or a log would act on: a title, an erased line, a forged line, and reversed text.
HOSTILE = "\x1b]0;owned\x07\r\x1b[2K\nforged\u202e[bold]:smile:"
ESCAPED = "\\x1b]0;owned\\x07\\r\\x1b[2K\\nforged\\u202e[bold]:smile:"

APP = """
from triggerfish import App

app = App("graves")

@app.list_trigger(keys="q q2")
async def on_list(body: bytes) -> None: ...

@app.stream_trigger(keys="s")
async def on_stream(body: bytes) -> None: ...

@app.pubsub_trigger(channel="c")
async def on_message(body: bytes) -> None: ...
"""


@pytest.fixture
def app_file(tmp_path: Path) -> Path:
    """The file of the app whose dead letters are listed."""
    path = tmp_path / "graves.py"
    path.write_text(APP)
    return path


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


async def dead(server: Server, app_file: Path, command: str, *arguments: str) -> Ran:
    """Run `triggerfish dead COMMAND APP ...`, in a thread: another process takes seconds to start."""
    line = ["triggerfish", "dead", command, str(app_file), *arguments, "--connection", server.address]
    return await asyncio.to_thread(_run, line)


def _run(line: list[str]) -> Ran:
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(io.StringIO()) as output,
        contextlib.redirect_stderr(io.StringIO()) as errors,
    ):
        patch.setattr("sys.argv", line)
        patch.setattr("sys.path", list(sys.path))
        with pytest.raises(SystemExit) as ended:
            run_program()
    assert isinstance(ended.value.code, int)
    return Ran(ended.value.code, output.getvalue(), errors.getvalue())


async def printed(server: Server, app_file: Path, command: str, *arguments: str) -> str:
    """Run a command that must succeed. Returns its output."""
    ran = await dead(server, app_file, command, *arguments)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


async def printed_json(server: Server, app_file: Path, command: str, *arguments: str) -> Any:
    """Run a command with --json."""
    return json.loads(await printed(server, app_file, command, *arguments, "--json"))


async def add_to_list(client: redis.asyncio.Redis, payload: bytes = b"p", key: str = "q", **failure: str) -> str:
    """Add a dead letter of `on_list`, and return its ID."""
    return await add_letter(client, Entry(key, payload=payload, deliveries=3), "on_list", **failure)


async def letter_ids(client: redis.asyncio.Redis, key: str = "q") -> list[str]:
    """Return the IDs of a key's dead letters, oldest first."""
    entries = await client.execute_command("XRANGE", dead_letters_key(key), "-", "+")
    return [letter_id.decode() for letter_id, _ in entries]


@pytest.mark.releases(*SOME)
async def test_the_newest_are_listed_with_the_way_to_the_others(
    server: Server, client: redis.asyncio.Redis, app_file: Path
) -> None:
    """`list` prints the newest letters, how many each key has, and how to see older ones; following it shows all."""
    ids: list[str] = []
    while len(ids) < 7:
        number = len(ids)
        letter_id = await add_to_list(client, key=("q", "q2")[number % 2], error=f"E: {number}")
        if letter_id in ids:  # in the same millisecond, in the other key
            await client.execute_command("XDEL", dead_letters_key(("q", "q2")[number % 2]), letter_id)
        else:
            ids.append(letter_id)
    listed = await printed(server, app_file, "list", "on_list", "--limit", "3")
    assert [line.split()[0] for line in listed.splitlines()[1:4]] == ids[:3:-1]
    assert " q " in listed
    assert " E: 6" in listed
    assert "q has 4 in all, q2 has 3 in all" in listed
    assert f"--before {ids[4]}" in listed
    rest = await printed(server, app_file, "list", "on_list", "--limit", "4", "--before", ids[4])
    assert [line.split()[0] for line in rest.splitlines()[1:5]] == ids[3::-1]
    assert "--before" not in rest
    one = await printed_json(server, app_file, "list", "on_list", "--key", "q2", "--limit", "1")
    assert one["keys"] == [{"key": "q2", "letters": 3}]
    assert ([letter["id"] for letter in one["letters"]], one["more"]) == ([ids[5]], True)


@pytest.mark.releases(*SOME)
async def test_the_summary_has_all_functions(server: Server, client: redis.asyncio.Redis, app_file: Path) -> None:
    """`summary` has a row for each key of each function, with the number, the age and the most frequent error."""
    for error in ("ValueError: 1", "KeyError: x", "ValueError: 2"):
        await add_to_list(client, error=error)
    table = await printed(server, app_file, "summary")
    rows = [line.split() for line in table.splitlines()[1:]]
    assert [row[:3] for row in rows] == [["on_list", "q", "3"], ["on_list", "q2", "0"], ["on_stream", "s", "0"]]
    assert "ValueError: 2 (2 times)" in table
    first, *_ = (await printed_json(server, app_file, "summary"))["functions"]
    assert first["newestMs"] >= first["oldestMs"] > 0
    assert (first["letters"], first["mostFrequentError"], first["mostFrequentErrorLetters"]) == (3, "ValueError: 2", 2)


@pytest.mark.releases("valkey-9.1")
async def test_the_summary_names_functions_that_cannot_be_read(
    server: Server, client: redis.asyncio.Redis, app_file: Path
) -> None:
    """A key that cannot be read is a problem of its function, with exit status 1; the others are counted."""
    await client.set(dead_letters_key("s"), "no stream")
    await add_to_list(client)
    ran = await dead(server, app_file, "summary", "--json")
    assert ran.returncode == 1
    assert [each["letters"] for each in json.loads(ran.stdout)["functions"]] == [1, 0]
    assert "on_stream: " in ran.stderr


@pytest.mark.releases(*SOME)
async def test_one_dead_letter_is_shown_in_full(server: Server, client: redis.asyncio.Redis, app_file: Path) -> None:
    """`show` prints the line that failed, the traceback and the entry; bytes that are not UTF-8 are escaped."""
    traceback = "Traceback (most recent call last):\n  File\nValueError: no good\n"
    letter_id = await add_to_list(client, b"first \xff", where="app.py:7 in f", traceback=traceback)
    shown = await printed(server, app_file, "show", "on_list", letter_id)
    assert "deliveries: 3\nerror:      ValueError: no good\nraised at:  app.py:7 in f\ntraceback:\n" in shown
    assert "\n    Traceback (most recent call last):\n      File\n    ValueError: no good\n" in shown
    assert shown.endswith("entry:      first \\xff\n")
    as_json = await printed_json(server, app_file, "show", "on_list", letter_id)
    assert (as_json["traceback"], as_json["entry"]) == (traceback, "first \\xff")
    without = await printed(server, app_file, "show", "on_list", await add_to_list(client))
    assert "raised at:  -\nentry:" in without


@pytest.mark.releases("valkey-9.1")
async def test_hostile_text_is_escaped(server: Server, client: redis.asyncio.Redis, app_file: Path) -> None:
    """No text of a producer or an exception reaches the terminal as control characters, markup or forged lines."""
    hostile = HOSTILE.encode()
    listed = await add_to_list(client, hostile, error=HOSTILE, where=HOSTILE, traceback=f"a\n{HOSTILE}\x9b")
    stream = await add_letter(
        client, Entry("s", flat_fields=[hostile, hostile], id=HOSTILE), "on_stream", error=HOSTILE
    )
    outputs = [
        await printed(server, app_file, "summary"),
        await printed(server, app_file, "list", "on_list"),
        await printed(server, app_file, "show", "on_list", listed),
        await printed(server, app_file, "show", "on_stream", stream),
        await printed(server, app_file, "show", "on_list", listed, "--json"),
    ]
    for output in outputs:
        assert all(character.isprintable() or character == "\n" for character in output)
        assert not any(line.startswith("forged") for line in output.splitlines())
    for output in outputs[:3]:
        assert "\\x1b]0;owned\\x07\\r" in output
        assert "[bold]:smile:" in output
    assert f"entry:      {ESCAPED}\n" in outputs[2]


@pytest.mark.releases("valkey-9.1")
async def test_unreadable_letters_can_only_be_purged(
    server: Server, client: redis.asyncio.Redis, app_file: Path
) -> None:
    """What is no dead letter is listed with its ID, skipped by --all, refused by requeue, and purged by ID."""
    await add_to_list(client, b"good")
    foreign = (await client.execute_command("XADD", dead_letters_key("q"), "*", "a", "b")).decode()
    line = line_of(await printed(server, app_file, "list", "on_list"), foreign)
    assert line.endswith("unreadable: no dead letter, or damaged")
    assert "unreadable" in await printed(server, app_file, "show", "on_list", foreign)
    refused = await dead(server, app_file, "requeue", "on_list", foreign)
    assert (refused.returncode, "Purge it" in refused.stderr) == (2, True)
    assert "1 requeued" in await printed(server, app_file, "requeue", "on_list", "--all")
    assert "0 purged" in await printed(server, app_file, "purge", "on_list", "--all")
    assert "1 purged" in await printed(server, app_file, "purge", "on_list", foreign)
    assert await letter_ids(client) == []


def line_of(text: str, start: str) -> str:
    """Return the line that starts so."""
    [line] = [line.rstrip() for line in text.splitlines() if line.startswith(start)]
    return line


@pytest.mark.releases(*SOME)
async def test_requeued_entries_are_unchanged(server: Server, client: redis.asyncio.Redis, app_file: Path) -> None:
    """`requeue --all` puts elements and entries back unchanged, oldest first, and removes the dead letters."""
    await add_to_list(client, b"first \xff")
    await add_to_list(client, b"second")
    fields = [b"a", b"\xfe", b"b", b"2"]
    await add_letter(client, Entry("s", flat_fields=fields), "on_stream")
    await add_letter(client, Entry("s", flat_fields=fields * 5_000), "on_stream")
    assert "2 requeued" in await printed(server, app_file, "requeue", "on_list", "--all")
    assert "2 requeued" in await printed(server, app_file, "requeue", "on_stream", "--all")
    assert await client.lrange("q", 0, -1) == [b"first \xff", b"second"]
    (_, small), (_, wide) = await client.execute_command("XRANGE", "s", "-", "+")
    assert small == wide == {b"a": b"\xfe", b"b": b"2"}
    assert await letter_ids(client) == await letter_ids(client, "s") == []


@pytest.mark.releases("valkey-9.1")
async def test_purge_removes_only_the_named_dead_letter(
    server: Server, client: redis.asyncio.Redis, app_file: Path
) -> None:
    """`purge ID` removes only that dead letter; without an ID or --all, nothing is removed."""
    first, second = await add_to_list(client), await add_to_list(client)
    assert (await dead(server, app_file, "purge", "on_list")).returncode == 2
    assert "1 purged" in await printed(server, app_file, "purge", "on_list", first)
    assert await letter_ids(client) == [second]


@pytest.mark.releases("valkey-9.1")
async def test_an_id_that_two_keys_have_needs_the_key(
    server: Server, client: redis.asyncio.Redis, app_file: Path
) -> None:
    """A dead letter is named by its ID and, where two keys have it, by the key; nothing is done to the other one."""
    await add_to_list(client)
    [letter_id] = await letter_ids(client)
    await client.execute_command("XADD", dead_letters_key("q2"), letter_id, "a", "b")
    ambiguous = await dead(server, app_file, "purge", "on_list", letter_id)
    assert (ambiguous.returncode, "q, q2 have it: choose with --key" in ambiguous.stderr) == (2, True)
    assert len((await printed_json(server, app_file, "list", "on_list", "--limit", "1"))["letters"]) == 2
    assert "1 purged" in await printed(server, app_file, "purge", "on_list", letter_id, "--key", "q2")
    assert await letter_ids(client) == [letter_id]
    assert await letter_ids(client, "q2") == []


@pytest.mark.releases("valkey-9.1")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("list", "nobody"), "nobody"),
        (("list", "on_message"), "Pub/sub"),
        (("list", "on_list", "--key", "s"), "The function reads q, q2"),
        (("list", "on_list", "--before", "yesterday"), "yesterday"),
        (("show", "on_list", "99999999999999999999-0"), "no such dead letter"),
        (("requeue", "on_list", "1-1"), "1-1"),
        (("requeue", "on_list", "1-1", "--all"), "not both"),
    ],
)
async def test_usage_errors_are_one_line(
    server: Server, app_file: Path, arguments: tuple[str, ...], message: str
) -> None:
    """A wrong argument prints one line that names it, with exit status 2."""
    ran = await dead(server, app_file, arguments[0], *arguments[1:])
    assert ran.returncode == 2
    assert message in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
