"""Commands that keep running, in separate processes with their output in files."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from listeners.runtime.child_processes import die_with_parent
from tests.support.programs.environment import environment
from tests.support.waiting import eventually

__all__ = ["Command", "running_command"]


@dataclass(frozen=True)
class Command:
    """A running command, and the files with its output."""

    process: "subprocess.Popen[bytes]"
    stdout: Path
    stderr: Path

    @property
    def output(self) -> str:
        """What it has written to the standard output."""
        return self.stdout.read_text()

    @property
    def errors(self) -> str:
        """What it has written to the standard error output."""
        return self.stderr.read_text()

    async def logged(self, text: str) -> None:
        """Wait until it has written a text to the standard error output. Fail if it ends before."""
        await eventually(lambda: text in self.errors or self.process.poll() is not None)
        assert text in self.errors, self.errors

    async def terminate(self, times: int = 1) -> int:
        """Send SIGTERM, several times at once if wanted, and return the exit status."""
        for _ in range(times):
            self.process.send_signal(signal.SIGTERM)
        await eventually(lambda: self.process.poll() is not None)
        return self.process.returncode


@contextlib.contextmanager
def running_command(folder: Path, *arguments: str, **variables: str) -> Iterator[Command]:
    """Run `triggerfish` with these arguments in a folder, killed after the block. Keywords are variables."""
    stdout, stderr = folder / "stdout", folder / "stderr"
    with stdout.open("wb") as output, stderr.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "triggerfish", *arguments],
            cwd=folder,
            env=environment(**variables),
            stdout=output,
            stderr=errors,
            preexec_fn=die_with_parent(),  # noqa: PLW1509  (it makes one system call)
        )
    try:
        yield Command(process, stdout, stderr)
    finally:
        process.kill()
        process.wait()
