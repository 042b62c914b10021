"""Lifespans of separate processes: how `triggerfish run` and `triggerfish up` behave."""

import re
from pathlib import Path

import aiohttp
import pytest
import redis.asyncio

from tests.support.programs.commands import Command, running_command
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

APP = """
import asyncio, time
from triggerfish import App

app = App("shop")

@app.list_trigger(keys="orders", call_timeout_seconds=0.1)
async def handle(order: str) -> None:
    print("handled", order, flush=True)

@app.lifespan
async def lifespan():
    print("entering", flush=True)
    BEFORE
    yield
    print("leaving", flush=True)
    AFTER
"""
#: Longer than any test may take.
HANGS = "await asyncio.sleep(1000)"
#: Short steps, because Python runs no handler of a signal that arrives just before a sleep.
BLOCKS = "while True: time.sleep(0.05)"


def written(folder: Path, *, before: str = "pass", after: str = "pass") -> str:
    """Write the app with these lines in its lifespan, and return the file's name."""
    (folder / "shop.py").write_text(APP.replace("BEFORE", before).replace("AFTER", after))
    return "shop.py"


async def printed(command: Command, text: str) -> None:
    """Wait until the app has printed a text."""
    await eventually(lambda: text in command.output or command.process.poll() is not None)
    assert text in command.output, command.errors


async def test_one_that_cannot_be_entered(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """The process exits with status 3, and the log has the traceback. No entry is taken."""
    await client.rpush("orders", "a")
    app = written(tmp_path, before='raise ValueError("no database")')
    with running_command(tmp_path, "run", app, CONNECTION=server.address) as command:
        await eventually(lambda: command.process.poll() is not None)
        assert command.process.returncode == 3
        assert re.search(r"ERROR +triggerfish\.host: shop: entering the lifespan failed\n +Traceback", command.errors)
        assert 'raise ValueError("no database")' in command.errors
        assert "listeners/" not in command.errors
        assert "triggerfish: the lifespan failed: entering it: ValueError: no database" in command.errors
        assert "handled" not in command.output
    assert await client.lrange("orders", 0, -1) == [b"a"]


async def test_the_probes_while_it_starts(server: Server, tmp_path: Path) -> None:
    """A process whose lifespan has not been entered is alive and not ready, and ends at SIGTERM."""
    app = written(tmp_path, before=HANGS)
    with running_command(tmp_path, "run", app, "--http-port", "0", CONNECTION=server.address) as command:
        await printed(command, "entering")
        await command.logged("serving metrics and probes on port")
        [port] = re.findall(r"on port (\d+)", command.errors)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            assert [(await session.get(path)).status for path in ("/livez", "/readyz")] == [200, 503]
        assert await command.terminate() == 0
    assert "shop: cancelling the lifespan: it has not started yet" in command.errors
    assert "leaving" not in command.output


async def test_one_that_blocks_at_its_start(server: Server, tmp_path: Path) -> None:
    """SIGTERM ends the process although the lifespan blocks the event loop: nothing is in progress yet."""
    app = written(tmp_path, before=BLOCKS)
    with running_command(tmp_path, "run", app, CONNECTION=server.address) as command:
        await printed(command, "entering")
        assert await command.terminate() == 0


@pytest.mark.parametrize("after", [HANGS, BLOCKS])
async def test_one_that_does_not_end(server: Server, tmp_path: Path, after: str) -> None:
    """The process ends after the grace period although the lifespan does not, even if it blocks the event loop."""
    app = written(tmp_path, after=after)
    with running_command(tmp_path, "run", app, CONNECTION=server.address, HOST__GRACE_PERIOD_SECONDS="0.5") as command:
        await command.logged("handle: ")
        assert await command.terminate() == 0
        assert "leaving" in command.output
        place = r"shop\.py:\d+ in lifespan"
        assert re.search(f"cancelling the lifespan: .*{place}|event loop has been blocked .*{place}", command.errors)


async def test_local_scaling(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """`triggerfish up` takes the exit for a crash, and starts the next process after a delay."""
    await client.rpush("orders", "a")
    app = written(tmp_path, before='raise ValueError("no database")')
    with running_command(
        tmp_path, "up", app, "--grpc-port", "0", "--http-port", "0", CONNECTION=server.address
    ) as command:
        await eventually(
            lambda: len(re.findall(r"exited with status 3; the next instance starts in", command.errors)) > 1,
            seconds=90,  # three processes start, one after the other
        )
        assert await command.terminate() == 0
    assert await client.lrange("orders", 0, -1) == [b"a"]
