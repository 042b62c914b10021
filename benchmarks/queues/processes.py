"""Starts and ends the programs of a library."""

import asyncio
import contextlib
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import IO

from benchmarks.peers.entrants import ROOT
from benchmarks.queues.environments import command
from benchmarks.queues.libraries import Library
from listeners.runtime.child_processes import die_with_parent

__all__ = ["JOB_SECONDS", "Failed", "Program", "running"]

JOB_SECONDS = 0.2
STOP_SECONDS = 30.0


class Failed(Exception):  # noqa: N818  (it is a result)
    """A library could not be run to the end; the message gives the reason."""


@dataclass(eq=False)
class Program:
    """A running program: a producer or a worker."""

    name: str
    process: "subprocess.Popen[str]"
    log: IO[str]

    def send(self, numbers: Iterable[int]) -> None:
        """Have a producer send jobs with these numbers."""
        for number in numbers:
            print(number, file=self.process.stdin)
        print(end="", file=self.process.stdin, flush=True)

    def check(self) -> None:
        """Raise Failed with the end of its output if it has exited."""
        if (code := self.process.poll()) is not None:
            self.log.seek(0)
            raise Failed(f"{self.name} exited with status {code}: {self.log.read()[-800:].strip()}")

    async def stop(self) -> int:
        """Send SIGTERM and return the exit status. It is killed if it takes too long."""
        self.process.terminate()
        try:
            return await asyncio.to_thread(self.process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@contextlib.asynccontextmanager
async def running(library: Library, what: str, url: str) -> AsyncIterator[Program]:
    """Run the library's program during the block. `what` is `send` or `work`."""
    variables = {"URL": url, "SECONDS": str(JOB_SECONDS), "SLOTS": str(library.slots), "MODE": library.mode}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(  # noqa: ASYNC220, S603  (it returns at once; our own command line)
            [*command(library.program), what],
            cwd=ROOT,
            env={**os.environ, **{f"QUEUE_{name}": value for name, value in variables.items()}},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            text=True,
            preexec_fn=die_with_parent(),  # noqa: PLW1509  (it makes one system call)
        )
        program = Program(f"{library.name}, {what}", process, log)
        try:
            yield program
        finally:
            await program.stop()
