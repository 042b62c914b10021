"""A host whose event loop hangs, or whose GIL is held for long, as others see it."""

import re
import signal
from pathlib import Path

import aiohttp
import pytest
import redis.asyncio

from tests.support.programs.commands import Command, running_command
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

APP = """
import ctypes, pathlib, signal, sys, time
import listeners.host.host, listeners.host.watchdog
from triggerfish import App

class Tee:
    def __init__(self, stream):
        self.write, self.flush = stream.write, stream.flush

sys.stderr = Tee(sys.stderr)  # it has no fileno()
signal.signal(signal.SIGUSR1, lambda *_: None)
listeners.host.host.HUNG_MARGIN_SECONDS = 0.0
listeners.host.watchdog.BLOCKED_SECONDS = 0.2
listeners.host.watchdog.HELD_GIL_SECONDS = 1.0
app = App("shop")

@app.list_trigger(keys="orders", max_deliveries=1, call_timeout_seconds=0.5)
async def handle(order: str) -> None:
    if order == "hold the GIL":
        ctypes.PyDLL(None).pause()  # until a signal arrives
    while order == "block the loop" and not pathlib.Path("resume").exists():
        time.sleep(0.01)
"""


async def status(command: Command, path: str) -> tuple[int, str]:
    """Return the status and the text of a response of the host."""
    [port] = re.findall(r"metrics and probes on port (\d+)", command.errors)
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}{path}") as response:
        return response.status, await response.text()


async def test_a_host_that_hangs(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """Its /livez fails until the loop runs again, and the line is logged, even if the app replaced sys.stderr."""
    (tmp_path / "shop.py").write_text(APP)
    options = ("run", "shop.py", "--http-port", "0")
    with running_command(tmp_path, *options, CONNECTION=server.address) as command:
        await command.logged("shop runs as")
        await eventually(lambda: is_alive(command))
        await client.rpush("orders", "block the loop")
        await eventually(lambda: re.search(r"has been blocked for .*shop\.py:\d+ in handle", command.errors))
        await eventually(lambda: is_hung(command))
        (tmp_path / "resume").touch()
        await command.logged("the event loop runs again")
        await eventually(lambda: is_alive(command))


async def test_a_host_whose_gil_is_held(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """The stacks of all threads are written while nothing else can run, and the block is counted."""
    (tmp_path / "shop.py").write_text(APP)
    options = ("run", "shop.py", "--http-port", "0")
    with running_command(tmp_path, *options, CONNECTION=server.address) as command:
        await command.logged("shop runs as")
        await client.rpush("orders", "hold the GIL")
        await command.logged("Timeout (0:00:01)!")
        await eventually(lambda: re.search(r'File ".*shop\.py", line \d+ in handle', command.errors))
        command.process.send_signal(signal.SIGUSR1)
        await eventually(lambda: has_counted(command))
        assert "the event loop was blocked for" in command.errors or "has been blocked for" in command.errors


async def has_counted(command: Command) -> bool:
    """Return whether /metrics has a block of the event loop."""
    _, metrics = await status(command, "/metrics")
    [blocks] = re.findall(r"^triggerfish_event_loop_blocks_total (\S+)", metrics, re.MULTILINE)
    return float(blocks) >= 1


async def is_alive(command: Command) -> bool:
    """Return whether /livez succeeds."""
    return (await status(command, "/livez"))[0] == 200


async def is_hung(command: Command) -> bool:
    """Return whether /livez reports a blocked event loop."""
    return await status(command, "/livez") == (503, "the event loop is blocked\n")
