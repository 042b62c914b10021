"""Commands that are run without naming an app, as real processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import redis.asyncio

from tests.support.programs.commands import running_command
from tests.support.programs.environment import environment
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

SECONDS = 100
APP = """
from triggerfish import App
app = App("shop")

@app.list_trigger(keys="orders")
async def handle(order: str) -> None:
    print("handled", order, flush=True)
"""
PORTS = ("--grpc-port", "0", "--http-port", "0")


@pytest.mark.parametrize("options", [("run",), ("up", *PORTS), ("run", "--log-format", "json")])
async def test_run_and_up(
    server: Server, client: redis.asyncio.Redis, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """`run` and `up` take the only app in the folder, and log which one it is, in the format of the log."""
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "other.py").write_text("raise SystemExit('it was run')")
    await client.rpush("orders", "x")
    with running_command(tmp_path, *options, CONNECTION=server.address) as command:
        await eventually(lambda: "handled x" in command.output)
        assert await command.terminate() == 0
    first, *_ = command.errors.splitlines()
    assert (json.loads(first)["message"] if "json" in options else first).endswith("the app is shop.py")


FACTORY = """
from triggerfish import App

def make_shop() -> App:
    app = App("shop")

    @app.list_trigger(keys="orders")
    async def handle(order: str) -> None:
        print("handled", order, flush=True)

    return app
"""


@pytest.mark.parametrize("options", [("run",), ("run", "--reload"), ("up", *PORTS)])
async def test_a_lone_factory(
    server: Server, client: redis.asyncio.Redis, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """A file whose only function with the mark `-> App` makes the app needs no name."""
    (tmp_path / "shop.py").write_text(FACTORY)
    await client.rpush("orders", "x")
    with running_command(tmp_path, *options, CONNECTION=server.address) as command:
        await eventually(lambda: "handled x" in command.output)
        assert await command.terminate() == 0
    assert "the app is shop.py:make_shop" in command.errors


@pytest.mark.parametrize("command", ["check", "explain", "dead summary"])
def test_commands_that_print_json(server: Server, tmp_path: Path, command: str) -> None:
    """They print which app they take to the standard error output; their output stays JSON."""
    (tmp_path / "shop.py").write_text(APP)
    done = started(tmp_path, *command.split(), "--json", CONNECTION=server.address)
    assert (done.returncode, done.stderr) == (0, "the app is shop.py\n")
    if command != "dead summary":
        assert json.loads(done.stdout)["triggers"][0]["function"] == "handle"


def test_manifest(tmp_path: Path) -> None:
    """The manifests name the app that was found."""
    (tmp_path / "shop.py").write_text(APP)
    done = started(tmp_path, "manifest")
    assert (done.returncode, done.stderr) == (0, "the app is shop.py\n")
    assert "shop.py" in done.stdout


@pytest.mark.parametrize("command", ["run", "up", "check", "explain", "manifest", "dead summary"])
def test_no_app(tmp_path: Path, command: str) -> None:
    """Without an app, and with several, the exit status is 2, and one line shows the command to type."""
    none = started(tmp_path, *command.split())
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text(APP)
    several = started(tmp_path, *command.split())
    assert (none.returncode, several.returncode) == (2, 2)
    assert none.stderr.startswith(f"triggerfish: APP: No app was found in {tmp_path}, which has no .py")
    fix = f"{tmp_path} has 2 apps: one.py, two.py. Name one: triggerfish {command} one.py."
    more = " Or give --scaler URL or --metadata KEY=VALUE." if command == "explain" else ""
    assert several.stderr == f"triggerfish: APP: {fix}{more}\n"


def started(folder: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end in a folder."""
    command = [sys.executable, "-m", "triggerfish", *arguments]
    environ = environment(**variables)
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=SECONDS, check=False
    )
