"""What commands print: data as it is, JSON alone for scripts, and no character that a terminal interprets."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from listeners.keys import dead_letters_key
from tests.support.programs.environment import environment
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

SECONDS = 60
KEY = "a:warning:b[red]" + "x" * 200
#: What a terminal would interpret: a window title, a new line, and a mark that reverses text.
HOSTILE = "\x1b]0;owned\x07\nfake line\u202e"
ESCAPED = r"\x1b]0;owned\x07\nfake line\u202e"
#: It prints, and runs an event loop, while it is imported.
APP = f"""
import asyncio
from triggerfish import App

print("printed by the app")
asyncio.run(asyncio.sleep(0))
app = App("shop")

@app.list_trigger(keys=["{KEY}"])
async def handle(order: bytes) -> None: ...
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """An app with a key that looks like markup and is longer than a line."""
    path = tmp_path / "shop.py"
    path.write_text(APP)
    return path


def run(server: Server, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run `triggerfish` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "triggerfish", *arguments],
        env={**environment(CONNECTION=server.address), **variables},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


async def dead_letter(client: redis.asyncio.Redis, error: str) -> str:
    """Store a dead letter with this error and payload. Return its ID."""
    fields = {"function": "handle", "trigger": KEY, "error": error, "where": error, "deliveries": "1", "time_ms": "0"}
    pairs = [part for pair in {**fields, "id": "", "payload": error}.items() for part in pair]
    stored: bytes = await client.execute_command("XADD", dead_letters_key(KEY), "*", *pairs)
    return stored.decode()


@pytest.mark.parametrize(
    "arguments",
    [["check"], ["check", "--acl"], ["explain"], ["dead", "list", "handle"], ["dead", "purge", "handle", "--all"]],
)
def test_json_and_nothing_else(server: Server, app: Path, arguments: list[str]) -> None:
    """With --json the standard output is JSON, unstyled even where colours are forced; what the app prints is not."""
    command, *rest = arguments
    reference = [str(app)] if command != "dead" else [rest.pop(0), str(app)]
    done = run(server, command, *reference, *rest, "--json", FORCE_COLOR="1", COLUMNS="20")
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), dict)
    assert "printed by the app\n" in done.stderr


def test_keys_are_data(server: Server, app: Path) -> None:
    """Emoji codes and markup in a key are printed as they are, and lines are not wrapped."""
    for arguments in (["check"], ["check", "--json"], ["check", "--acl", "--json"], ["explain", "--json"]):
        assert KEY in run(server, *arguments, str(app)).stdout.replace("\\\\", "").replace("\\", ""), arguments
    printed = run(server, "check", "--acl", str(app), COLUMNS="20", FORCE_COLOR="1").stdout
    [line] = printed.splitlines()
    assert line.startswith("ACL SETUSER shop ")
    assert f"triggerfish:{{{KEY}}}" in line.replace("\\", "")
    commands: list[dict[str, Any]] = json.loads(run(server, "check", "--acl", "--json", str(app)).stdout)["commands"]
    assert commands == [{"address": server.address, "command": line}]


async def test_an_output_without_unicode(server: Server, app: Path, client: redis.asyncio.Redis) -> None:
    """Where the output is ASCII, other characters are escaped."""
    letter = await dead_letter(client, "caf\u00e9 \U0001f421")
    for arguments in (["list", str(app), "handle"], ["show", str(app), "handle", letter]):
        done = run(server, "dead", *arguments, PYTHONIOENCODING="ascii")
        assert done.returncode == 0, done.stderr
        assert r"caf\xe9 \U0001f421" in done.stdout
    assert run(server, "--help", PYTHONIOENCODING="ascii").returncode == 0


async def test_dead_letters_cannot_control_a_terminal(server: Server, app: Path, client: redis.asyncio.Redis) -> None:
    """Control characters, new lines and bidirectional marks of a dead letter are escaped."""
    letter = await dead_letter(client, HOSTILE)
    shown = run(server, "dead", "show", str(app), "handle", letter)
    assert [line.partition(":")[2].strip() for line in shown.stdout.splitlines()][-3:] == [ESCAPED] * 3
    listed = run(server, "dead", "list", str(app), "handle", COLUMNS="1000")
    assert ESCAPED in listed.stdout
    assert len(listed.stdout.splitlines()) == 3  # the header, the letter, and the total


@pytest.mark.parametrize("command", ["check", "explain", "run", "up", "manifest"])
def test_errors_cannot_control_a_terminal(server: Server, app: Path, command: str) -> None:
    """The message of an exception in the app is one line, escaped and complete."""
    app.write_text(f"raise ValueError({HOSTILE + 'x' * 3000 + 'end'!r})")
    done = run(server, command, str(app))
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.isprintable()
    assert r"\x1b]0;owned\x07 fake line\u202exxx" in line
    assert "xend at " in line


def test_the_whole_reason(server: Server, app: Path) -> None:
    """`check` prints every denied command and the fix, however long the line."""
    names = [f"{number}-{'n' * 1000}" for number in range(4)]
    app.write_text(APP.replace(f'["{KEY}"]', repr(names)))
    with server.client() as client:
        client.acl_setuser("shop", enabled=True, nopass=True, keys=["*"], categories=["+@all"], commands=["-evalsha"])
        try:
            done = run(server, "check", str(app), TRIGGERFISH_CONNECTION=f"{server.address},user=shop,password=x")
        finally:
            client.acl_deluser("shop")
    [line] = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert "EVALSHA denied" in line
    assert "that `triggerfish check --acl` prints" in line
