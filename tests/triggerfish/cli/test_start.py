"""Commands that keep running: signals while they start, log levels, and the import path of processes they start."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from listeners.runtime.child_processes import die_with_parent
from tests.support.programs.environment import environment
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

SECONDS = 100
APP = """
from triggerfish import App

app = App()

@app.list_trigger(keys="orders")
async def handle(order: bytes) -> None: ...
"""


@contextmanager
def started(
    folder: Path, *command: str | Path, log: Path, connection: str = "127.0.0.1:1", **variables: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a command in a folder, with its output in a file, until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**environment(CONNECTION=connection), **variables},
            stdout=output,
            stderr=output,
            preexec_fn=die_with_parent(),  # noqa: PLW1509  (it makes one system call)
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def has_reader(pipe: Path) -> bool:
    """Return whether a process has opened a pipe to read it."""
    try:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", ["run", "up", "scaler"])
async def test_a_signal_while_a_command_starts(tmp_path: Path, command: str, number: signal.Signals) -> None:
    """A signal while the app, or a package of the scaler, is imported ends the process with status 0 and no output."""
    pipe, log = tmp_path / "pipe", tmp_path / "log"
    os.mkfifo(pipe)
    blocking = "jinja2.py" if command == "scaler" else "shop.py"
    (tmp_path / blocking).write_text(f"while True: open({str(pipe)!r}).read()")
    arguments = ["scaler"] if command == "scaler" else [command, "shop.py"]
    with started(tmp_path, sys.executable, "-m", "triggerfish", *arguments, log=log) as process:
        await eventually(lambda: has_reader(pipe) or process.poll() is not None, seconds=SECONDS)
        process.send_signal(number)
        await eventually(lambda: process.poll() is not None, seconds=SECONDS)
        assert (process.returncode, log.read_text()) == (0, "")


@pytest.mark.parametrize("level", ["INFO", "Info"])
async def test_log_levels_in_any_case(tmp_path: Path, server: Server, level: str) -> None:
    """The log level, in the environment or as an option, may be upper case."""
    (tmp_path / "shop.py").write_text(APP)
    log = tmp_path / "log"
    command = [sys.executable, "-m", "triggerfish", "run", "shop.py"]
    for options, variables in (([], {"TRIGGERFISH_LOG": level}), (["--log-level", level], {})):
        with started(tmp_path, *command, *options, log=log, connection=server.address, **variables) as process:
            await eventually(lambda: "shop runs as" in log.read_text() or process.poll() is not None, seconds=SECONDS)
            assert process.poll() is None, log.read_text()


@pytest.mark.parametrize("level", ["warn", "critical", "10"])
def test_other_log_levels(tmp_path: Path, level: str) -> None:
    """Names that Python's logging also knows are rejected with the valid ones, as an option and in the environment."""
    command = [sys.executable, "-m", "triggerfish", "run", "shop.py"]
    for options, variables in (([], {"TRIGGERFISH_LOG": level}), (["--log-level", level], {})):
        done = subprocess.run(
            [*command, *options],
            cwd=tmp_path,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 2
        words = " ".join(done.stderr.replace("│", " ").split())
        assert f"'{level}' is no level." in words
        assert "Use one of debug, info, warning, error." in words


@pytest.mark.parametrize("way", ["python -m", "command"])
async def test_processes_import_from_where_up_does(tmp_path: Path, server: Server, way: str) -> None:
    """The processes of `up` import from the current folder if `up` does, and only then."""
    (tmp_path / "apps").mkdir()
    if way == "python -m":
        command = [sys.executable, "-m", "triggerfish"]
        (tmp_path / "in_the_current_folder.py").touch()
        (tmp_path / "apps" / "shop.py").write_text(f"import in_the_current_folder\n{APP}")
    else:
        command = [str(Path(sys.executable).with_name("triggerfish"))]
        (tmp_path / "listeners.py").write_text("raise SystemExit('it was run')\n")
        (tmp_path / "apps" / "shop.py").write_text(APP)
    log = tmp_path / "log"
    ports = ("--grpc-port", "0", "--http-port", "0")
    arguments = ("up", "apps/shop.py", "--min-instances", "1", *ports)
    with started(tmp_path, *command, *arguments, log=log, connection=server.address) as process:
        outcomes = ("shop runs as", "exited with status")
        await eventually(lambda: any(words in log.read_text() for words in outcomes), seconds=SECONDS)
        assert "shop runs as" in log.read_text(), log.read_text()
        process.terminate()
        await eventually(lambda: process.poll() is not None, seconds=SECONDS)
