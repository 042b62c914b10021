"""`triggerfish up`: what it shows on a terminal, and what it logs elsewhere."""

import asyncio
import contextlib
import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis.asyncio
from rich.console import Console

from listeners.functions.loading import load_app
from scaler.local_app import LocalApp
from scaler.monitoring.status import KeyStatus, TriggerStatus
from scaler.settings import load_settings
from tests.support.programs.commands import running_command
from tests.support.programs.environment import environment
from tests.support.waiting import eventually
from triggerfish.cli.output import trigger_table
from triggerfish.cli.up import snapshot
from triggerfish.testing.server import Server, free_port

pytestmark = pytest.mark.releases("valkey-9.1")

APP = """
import logging, sys
from triggerfish import App
app = App("shop")

@app.list_trigger(keys="orders")
async def handle(order: str) -> None:
    print("printed \\x1b[2J" + order)
    logging.getLogger("shop").debug("logged %s", order)
"""
TWO_TRIGGERS = """
from triggerfish import App
app = App()

@app.list_trigger(keys="orders")
def handle(order: str) -> None: ...

@app.list_trigger(keys="returns")
def take_back(order: str) -> None: ...
"""
PORTS = ("--grpc-port", "0", "--http-port", "0")
INSTANCE = r"[\w.-]+-[0-9a-f]{6}-1"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """An app whose function prints and logs."""
    path = tmp_path / "shop.py"
    path.write_text(APP)
    return path


async def test_without_a_terminal(server: Server, client: redis.asyncio.Redis, app: Path) -> None:
    """Lines of instances begin with their names and are neutral; the level reaches them; the page has an address."""
    options = ("up", app.name, *PORTS, "--log-level", "debug")
    with running_command(app.parent, *options, CONNECTION=server.address) as command:
        await client.rpush("orders", "x")
        await command.logged("logged x")
        await eventually(lambda: "printed" in command.output)
        assert await command.terminate() == 0
    assert re.search(rf"^{INSTANCE} \| .* DEBUG   shop: logged x$", command.errors, re.MULTILINE)
    assert re.fullmatch(rf"{INSTANCE} \| printed \\x1b\[2Jx\n", command.output)
    assert re.search(rf"^{INSTANCE} \| .*: {INSTANCE} has drained$", command.errors, re.MULTILINE)
    assert re.search(r"status page: http://127.0.0.1:\d+/$", command.errors, re.MULTILINE)


async def test_json(server: Server, client: redis.asyncio.Redis, app: Path) -> None:
    """With --log-format json every line is an object, whichever process wrote it, with the instance's name."""
    options = ("up", app.name, *PORTS, "--log-format", "json")
    with running_command(app.parent, *options, CONNECTION=server.address) as command:
        await client.rpush("orders", "x")
        await eventually(lambda: "printed" in command.output)
        assert await command.terminate() == 0
    records = [json.loads(line) for line in (command.errors + command.output).splitlines()]
    [printed] = [record for record in records if record["message"] == "printed \x1b[2Jx"]
    assert re.fullmatch(INSTANCE, printed["instance"])
    assert {record["instance"] for record in records if record["logger"] == "triggerfish.host"} == {printed["instance"]}


@contextlib.contextmanager
def on_terminal(folder: Path, *arguments: str, address: str) -> Iterator[tuple["subprocess.Popen[bytes]", io.BytesIO]]:
    """Run a command on a terminal of 80 columns. Yields the process and what it has written."""
    screen = io.BytesIO()
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "triggerfish", *arguments],
        cwd=folder,
        env={**environment(CONNECTION=address), "TERM": "xterm-256color"},
        stdout=end,
        stderr=end,
    )
    os.close(end)

    def read() -> None:
        with contextlib.suppress(OSError):  # the terminal is closed
            while chunk := os.read(terminal, 65536):
                screen.write(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield process, screen
    finally:
        process.kill()
        process.wait()
        reader.join()
        os.close(terminal)


async def test_on_a_terminal(server: Server, client: redis.asyncio.Redis, app: Path) -> None:
    """Lines of instances appear above the table with their names, and the page's address is a link below it."""
    await client.rpush("orders", "x")
    options = ("up", app.name, *PORTS, "--log-level", "debug")
    with on_terminal(app.parent, *options, address=server.address) as (process, screen):
        await eventually(lambda: b"logged x" in screen.getvalue() and b"\x1b]8;" in screen.getvalue())
        process.terminate()
        await eventually(lambda: process.poll() is not None)
    text = screen.getvalue().decode()
    assert re.search(rf"\n?{INSTANCE} \| printed", text)
    assert re.search(rf"{INSTANCE} \| [^\x1b]*shop: logged x", text.replace("\r\n", " "))
    assert re.search(r"\x1b\]8;[^;]*;(http://127.0.0.1:\d+/)\x1b\\status page: \1", text)
    assert process.returncode == 0


async def test_the_cause_below_the_table(tmp_path: Path) -> None:
    """While Redis cannot be reached, the cause is shown once below the table, however many triggers it affects."""
    file = tmp_path / "shop.py"
    file.write_text(TWO_TRIGGERS)
    address = f"127.0.0.1:{free_port()}"
    ports = {"grpc_port": 0, "http_port": 0}
    local = LocalApp(str(file), load_app(str(file)), load_settings(None, connection=address, scaler=ports))
    console = Console(width=200)

    def shown() -> str:
        with console.capture() as captured:
            console.print(snapshot(local))
        return captured.get()

    running = asyncio.create_task(local.run())
    try:
        await eventually(lambda: f"connecting to {address} was refused" in shown())
        assert shown().count("was refused") == 1
        assert "list orders: unavailable" in shown()
    finally:
        local.stop()
        await running


@pytest.mark.parametrize(
    "keys",
    [
        ("production:europe:shop:orders:incoming", "production:europe:shop:orders:outgoing"),
        ("production:europe:shop:orders:incoming", "production:america:shop:orders:incoming"),
        ("preproduction:europe:orders", "production:europe:orders"),
        ("店舗:欧州:注文:受信:未処理:一覧", "店舗:欧州:注文:受信:処理済:一覧"),
        ("k" * 400 + "a", "k" * 400 + "b"),
    ],
)
def test_long_keys_in_80_columns(keys: tuple[str, str]) -> None:
    """Keys that share a long prefix, or a long suffix, remain distinguishable in 80 columns."""
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(trigger_table([status_of(f"list {key}") for key in keys], console.width))
    lines = console.export_text().splitlines()
    assert max(len(line) for line in lines) <= 80
    starts = [number for number, line in enumerate(lines) if line.startswith("handle")]
    first, second = lines[starts[0] : starts[1]], lines[starts[1] :]
    assert first != second
    assert all("12345678 (counted)" in line for line in (first[0], second[0]))


def status_of(reads: str) -> TriggerStatus:
    """Return the status of a trigger with a large backlog."""
    lag = {"entries": 12345678, "how": "counted", "capped": False}
    key = KeyStatus.model_validate({"key": reads, "length": 12345678, "pending": 3, "lag": lag})
    return TriggerStatus(
        path="", namespace="", scaled_object="", metric_name="triggerfish-x", app="shop", function="handle",
        type="RedisListTrigger", reads=reads, messages_per_worker=10, known=True, target=4, active=True,
        backlog=12345678, keys=(key,),
    )  # fmt: skip
