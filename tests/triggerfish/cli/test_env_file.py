"""Variables from a `.env` file, as real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis.asyncio

from tests.support.programs.commands import running_command
from tests.support.programs.environment import environment
from tests.support.waiting import eventually
from tests.triggerfish.reloading.apps import APP, COMMANDS, handles, write
from triggerfish.testing.server import Server, free_port

pytestmark = [pytest.mark.releases("valkey-9.1"), pytest.mark.timeout(240)]

SECONDS = 100
SECRET = "hunter2"
SHOP = """
import os
from triggerfish import App
app = App(os.environ.get("SHOP_NAME", "unset"))

@app.list_trigger(keys=os.environ.get("SHOP_KEYS", "orders"))
async def handle(order: str) -> None:
    print(os.environ["SHOP_GREETING"], order, flush=True)
"""
PORTS = ("--grpc-port", "0", "--http-port", "0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an app that reads the environment."""
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


def triggerfish(folder: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "triggerfish", *arguments],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.parametrize("options", [("run",), ("up", *PORTS), ("run", "--env-file", "other.env")])
async def test_run_and_up(server: Server, client: redis.asyncio.Redis, folder: Path, options: tuple[str, ...]) -> None:
    """Settings, options' variables and the app's own variables come from `.env`, or from the file that is named."""
    named = "--env-file" in options
    settings = f"TRIGGERFISH_CONNECTION={server.address}\nTRIGGERFISH_LOG_FORMAT=json\n"
    (folder / ("other.env" if named else ".env")).write_text(f"{settings}SHOP_GREETING='good day'\nSHOP_NAME=till")
    if named:
        (folder / ".env").write_text("SHOP_GREETING=wrong\nTRIGGERFISH_CONNECTION=127.0.0.1:1\nTRIGGERFISH_NONSENSE=1")
    await client.rpush("orders", "x")
    with running_command(folder, *options) as command:
        await eventually(lambda: command.output, seconds=60)
        assert await command.terminate() == 0
    assert "good day x" in command.output
    messages = [json.loads(line)["message"] for line in command.errors.splitlines()]
    assert messages[0] == "4 variables come from the .env file"
    assert any(message.startswith("till runs as") for message in messages)


@pytest.mark.parametrize("command", ["check", "check --acl", "explain", "manifest", "dead summary", "dead list"])
def test_other_commands(server: Server, folder: Path, command: str) -> None:
    """Every command that loads an app reads the file, and its output has nothing about it."""
    (folder / ".env").write_text(f"TRIGGERFISH_CONNECTION={server.address}\nSHOP_NAME=till\nSHOP_KEYS=from-the-file")
    arguments = ("shop.py", "handle") if command == "dead list" else ("shop.py",)
    done = triggerfish(folder, *command.split(), *arguments)
    assert (done.returncode, "" if "acl" in command else done.stderr) == (0, "")
    assert {"manifest": "name: till", "dead list": "no dead letters", "dead summary": "handle"}.get(
        command, "from-the-file"
    ) in done.stdout


def test_the_environment_takes_precedence(server: Server, folder: Path) -> None:
    """A variable of the environment is not replaced, also within a value, and an option is above both."""
    (folder / ".env").write_text(
        "TRIGGERFISH_CONNECTION=127.0.0.1:1\nTRIGGERFISH_LOG=nonsense\nSHOP_PREFIX=file\nSHOP_KEYS=${SHOP_PREFIX}-orders"
    )
    os.environ["SHOP_PREFIX"] = "environment"
    try:
        by_variable = triggerfish(folder, "check", "shop.py", CONNECTION=server.address)
        by_option = triggerfish(folder, "check", "shop.py", "--connection", server.address)
    finally:
        del os.environ["SHOP_PREFIX"]
    for done in (by_variable, by_option):
        assert (done.returncode, done.stderr) == (0, "")
        assert f"list environment-orders on {server.address}" in done.stdout


FILES = {
    "quotes": (b"""SHOP_KEYS="a key" # the rest\nSHOP_NAME='it\\'s'""", {"SHOP_KEYS": "a key", "SHOP_NAME": "it's"}),
    "export": (b"export SHOP_KEYS=q\n", {"SHOP_KEYS": "q"}),
    "a byte order mark": (b"\xef\xbb\xbfSHOP_KEYS=q\n", {"SHOP_KEYS": "q"}),
    "lines of Windows": (b"SHOP_KEYS=q\r\nSHOP_NAME=n\r\n", {"SHOP_KEYS": "q", "SHOP_NAME": "n"}),
    "comments": (b"# first\n\n  SHOP_KEYS = q  # more\n#SHOP_NAME=n", {"SHOP_KEYS": "q", "SHOP_NAME": None}),
    "lines in a value": (b'SHOP_KEYS="a\nb"\nSHOP_NAME=n', {"SHOP_KEYS": "a\nb", "SHOP_NAME": "n"}),
    "empty values": (b"SHOP_KEYS=\nSHOP_NAME=''", {"SHOP_KEYS": "", "SHOP_NAME": ""}),
    "other letters": ("SHOP_KEYS=заказы\n".encode(), {"SHOP_KEYS": "заказы"}),
    "equal signs": (b"SHOP_KEYS=host:1,password=a=b=\n", {"SHOP_KEYS": "host:1,password=a=b="}),
    "nothing": (b"", {"SHOP_KEYS": None}),
}


@pytest.mark.parametrize(("content", "expected"), FILES.values(), ids=FILES.keys())
def test_what_a_file_may_contain(tmp_path: Path, content: bytes, expected: dict[str, str | None]) -> None:
    """The file is read as python-dotenv reads it, in UTF-8, with or without a byte order mark."""
    (tmp_path / ".env").write_bytes(content)
    program = "import json, os; from triggerfish.env_file import apply_env_file; apply_env_file(None); "
    show = f"print(json.dumps({{name: os.environ.get(name) for name in {list(expected)}}}))"
    done = subprocess.run(
        [sys.executable, "-c", program + show], cwd=tmp_path, capture_output=True, timeout=SECONDS, check=True
    )
    assert json.loads(done.stdout) == expected


MISTAKES = {
    "a quote": (f'A=1\n\n\nB="{SECRET}\nC=2', "Line 4 does not parse."),
    "text": (f"A=1\n{SECRET} and more", "Line 2 does not parse."),
    "a name alone": (f"\r\n\r\n{SECRET}\r\n", "Line 3 has no value."),
    "no name": (f"={SECRET}", "Line 1 does not parse."),
    "twice": (f"A={SECRET}\nB=1\nA=2", "Line 3 sets the same variable as line 1."),
    "a null character": (f"A={SECRET}\0", "Line 1 contains a null character."),
    "other bytes": (b"A=1\nB=\xff", "Line 2 is not UTF-8."),
    "UTF-16": ("A=1\n".encode("utf-16"), "Line 1 is not UTF-8."),
    "many": ("".join(f"A{number}={SECRET}\n" for number in range(1001)), "Line 1001 is beyond 1,000 variables."),
    "large": (f"A={SECRET * 200_000}", "It is larger than"),
}


@pytest.mark.parametrize(("content", "fix"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes(folder: Path, content: str | bytes, fix: str) -> None:
    """A file that cannot be parsed is one error with the file and the line, without any of its text."""
    (folder / ".env").write_bytes(content if isinstance(content, bytes) else content.encode())
    done = triggerfish(folder, "check", "shop.py")
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith(f"triggerfish: invalid --env-file '.env': {fix}")
    assert SECRET not in line


def test_a_file_that_cannot_be_read(folder: Path) -> None:
    """A named file must exist, and be a file."""
    (folder / ".env").mkdir()
    for name, words in (("missing.env", "No such file"), (".", "not a file"), (".env", "not a file")):
        done = triggerfish(folder, "check", "shop.py", "--env-file", name)
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    assert triggerfish(folder, "--help").returncode == 0


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (f"A=1\nTRIGGERFISH_CONECTION={SECRET}", "TRIGGERFISH_CONECTION"),
        ("A=1\nTRIGGERFISH_HOST__LEASE_SECONDS=0", "host.lease_seconds"),
        (f"A=1\nTRIGGERFISH_CONNECTION=h:1,paswort={SECRET}", "connection"),
    ],
)
def test_an_invalid_setting(folder: Path, content: str, field: str) -> None:
    """An error of a setting names the place in the file, and shows no secret."""
    (folder / ".env").write_text(content)
    done = triggerfish(folder, "check", "shop.py")
    assert done.returncode == 2
    assert field in done.stderr
    assert "It is set in .env, line 2." in done.stderr
    assert SECRET not in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
async def test_a_change(server: Server, client: redis.asyncio.Redis, tmp_path: Path, name: str) -> None:
    """With --reload, a change of the file applies to the connection and the app. A mistake leaves what runs."""
    file, version = tmp_path / ".env", "os.environ.get('VERSION', 'none')"
    connection = f"TRIGGERFISH_CONNECTION={server.address}\n"
    (tmp_path / "shop.py").write_text(APP.replace('VERSION = "one"', f"VERSION = {version}"))
    with running_command(
        tmp_path, *COMMANDS[name], "shop.py", CONNECTIONS__CACHE=f"127.0.0.1:{free_port()}"
    ) as command:
        await command.logged("waiting until a file changes")
        write(file, f"{connection}VERSION=one\n")
        await handles(client, "one")
        write(file, f"{connection}VERSION='two")
        await command.logged("Line 2 does not parse")
        await command.logged("the app that runs goes on")
        await client.delete("handled")
        await handles(client, "one")
        write(file, connection)
        await handles(client, "none")
        assert await command.terminate() == 0


@pytest.mark.parametrize("options", [("up", *PORTS), *COMMANDS.values()])
async def test_an_option_for_processes(
    server: Server, client: redis.asyncio.Redis, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """--connection replaces all of the file's connection, in the processes that the command starts as well."""
    (tmp_path / ".env").write_text(f"TRIGGERFISH_CONNECTION__PASSWORD={SECRET}\n")
    (tmp_path / "shop.py").write_text(APP)
    with running_command(tmp_path, *options, "shop.py", "--connection", server.address) as command:
        await handles(client, "one")
        assert await command.terminate() == 0
    assert SECRET not in command.errors
