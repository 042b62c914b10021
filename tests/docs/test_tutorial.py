"""The tutorial: its steps work as shown."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import redis.asyncio

from listeners.keys import dead_letters_key, inflight_key
from listeners.runtime.child_processes import die_with_parent
from tests.docs.blocks import DOCS, named_files
from tests.support.programs.environment import environment
from tests.support.waiting import eventually
from triggerfish.testing.server import Server, free_port

pytestmark = pytest.mark.releases("valkey-9.1")

TUTORIAL = DOCS / "tutorial.md"
SECONDS = 60
DEAD_LETTERS = dead_letters_key("orders")
Run = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files of the tutorial."""
    files = named_files(TUTORIAL)
    assert files.keys() == {"shop.py", "push.py"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def run(folder: Path, server: Server) -> Run:
    """A function that runs a command line of the tutorial on the test's server and returns its output."""

    def run(line: str) -> str:
        assert f"$ {line}" in TUTORIAL.read_text(), line
        program, *arguments = line.split()
        python = [sys.executable, *(("-P", "-m", "triggerfish") if program == "triggerfish" else ())]
        done = subprocess.run(
            [*python, *arguments],
            cwd=folder,
            env=environment_with(server),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def environment_with(server: Server) -> dict[str, str]:
    """Return the environment of a command, which connects to the test's Redis."""
    ports = {"SCALER__GRPC_PORT": str(free_port()), "SCALER__HTTP_PORT": str(free_port())}
    return environment(CONNECTION=server.address, **ports)


class Up:
    """`triggerfish up shop.py` in the background."""

    def __init__(self, folder: Path, server: Server) -> None:
        self._command = [sys.executable, "-P", "-m", "triggerfish", "up", "shop.py"]
        self._folder, self._server = folder, server
        self.start()

    def start(self) -> None:
        """Start the process."""
        self.process = subprocess.Popen(
            self._command,
            cwd=self._folder,
            env=environment_with(self._server),
            preexec_fn=die_with_parent(),  # noqa: PLW1509  (it makes one system call)
        )

    def stop(self) -> None:
        """Send the signal of Ctrl-C and wait until the process has ended."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(SECONDS) == 0


@pytest.fixture
def up(folder: Path, server: Server) -> Iterator[Up]:
    """`triggerfish up` in the tutorial's second terminal."""
    started = Up(folder, server)
    yield started
    if started.process.poll() is None:
        started.stop()


@pytest.mark.timeout(180)
async def test_the_tutorial(folder: Path, run: Run, up: Up, server: Server, client: redis.asyncio.Redis) -> None:
    """Every step has the documented result."""
    push = folder / "push.py"
    push.write_text(push.read_text().replace("redis.Redis()", f"redis.Redis(port={server.port})"))
    assert run("triggerfish check shop.py").startswith("ok   handle_order: list orders on 127.0.0.1:")
    run("python push.py 3")
    await eventually(partial(backlog_is, client, 0), seconds=SECONDS)

    run("python push.py 1 -1")
    await eventually(lambda: client.xlen(DEAD_LETTERS), seconds=SECONDS)
    assert "ValueError: order 0 has a negative amount" in run("triggerfish dead list shop.py handle_order")
    app = folder / "shop.py"
    app.write_text("".join(app.read_text().splitlines(keepends=True)[:-2]))  # without the last two lines
    up.stop()
    up.start()
    assert run("triggerfish dead requeue shop.py handle_order --all") == "1 requeued\n"
    await eventually(partial(backlog_is, client, 0), seconds=SECONDS)
    assert await client.xlen(DEAD_LETTERS) == 0

    up.stop()  # how far a fast machine gets before the next command must not matter
    run("python push.py 1000")
    row = next(line for line in run("triggerfish explain shop.py").splitlines() if line.startswith("handle_order"))
    assert 10 <= int(row.split()[-1]) <= 20
    up.start()
    await eventually(partial(instances_are, client, 4), seconds=SECONDS)
    await client.delete("orders")
    up.stop()


async def backlog_is(client: redis.asyncio.Redis, number: int) -> bool:
    """Return whether `number` elements wait or are in flight."""
    return await client.llen("orders") + await client.zcard(inflight_key("orders")) == number


async def instances_are(client: redis.asyncio.Redis, number: int) -> bool:
    """Return whether `number` instances are connected."""
    names = {entry["name"] for entry in await client.client_list()}
    return len({name.rpartition(":")[2] for name in names if name.startswith("triggerfish:host:shop:")}) == number
