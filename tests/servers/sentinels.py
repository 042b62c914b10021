"""A real primary with two replicas, monitored by three Sentinels."""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from tests.servers.catalogue import Release
from triggerfish.testing.server import Server, free_port

__all__ = ["Sentinels", "sentinel_of"]

SERVICE = "main"
REPLICAS = 2
SENTINELS = 3
DOWN_AFTER_MS = 500
WAIT_SECONDS = 30.0

CONFIGURATION = f"""
sentinel monitor {SERVICE} 127.0.0.1 {{port}} 2
sentinel down-after-milliseconds {SERVICE} {{down_after_ms}}
sentinel failover-timeout {SERVICE} 3000
sentinel parallel-syncs {SERVICE} 2
"""


@contextlib.contextmanager
def sentinel_of(release: Release, primary: Server, down_after_ms: int = DOWN_AFTER_MS) -> Iterator[Server]:
    """Run a Sentinel that considers a server the primary, even if it is not, until it is down for `down_after_ms`."""
    if release.binary is None:
        raise RuntimeError(f"{release.name} is not on this machine. Run `make servers`.")
    with tempfile.TemporaryDirectory(prefix="triggerfish-sentinel-") as folder:
        file = Path(folder, "sentinel.conf")
        file.write_text(CONFIGURATION.format(port=primary.port, down_after_ms=down_after_ms))
        with Server(release.binary, "--sentinel", port=free_port(), configuration=file) as sentinel:
            yield sentinel


class Sentinels:
    """Three data servers and three Sentinels. Each data server gets `arguments`, such as "--appendonly", "yes"."""

    def __init__(self, release: Release, *arguments: str) -> None:
        self._stack = contextlib.ExitStack()
        try:
            self.servers = [self._start(release, *arguments, "--repl-diskless-sync-delay", "0")]
            self.servers += [
                self._start(release, *arguments, "--repl-diskless-sync-delay", "0",
                            "--replicaof", "127.0.0.1", str(self.servers[0].port))
                for _ in range(REPLICAS)
            ]  # fmt: skip
            self.sentinels = [
                self._stack.enter_context(sentinel_of(release, self.servers[0])) for _ in range(SENTINELS)
            ]
            self._wait_until_connected()
        except BaseException:
            self._stack.close()
            raise

    @property
    def address(self) -> str:
        """A connection string with the addresses of the Sentinels and the service name."""
        return ",".join(sentinel.address for sentinel in self.sentinels) + f",serviceName={SERVICE}"

    @property
    def primary(self) -> Server:
        """The primary that the Sentinels report."""
        for sentinel in self.sentinels:
            with contextlib.closing(sentinel.client()) as client:
                _, port = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
                return next(server for server in self.servers if server.port == int(port))
        raise LookupError("there are no Sentinels")

    def kill_primary(self) -> Server:
        """Send SIGKILL to the primary, wait until a replica has taken over, and return the killed server."""
        killed = self.primary
        killed.process.kill()
        killed.process.wait()
        self.await_other_primary(killed)
        return killed

    def await_other_primary(self, former: Server) -> None:
        """Wait until the Sentinels report another primary, and that server has the role itself."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self.primary is former or not _is_primary(self.primary):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the Sentinels did not fail over within {WAIT_SECONDS:g} s")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop all servers."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self, release: Release, *arguments: str) -> Server:
        server = release.start(*arguments)
        self._stack.callback(server.stop)
        return server

    def _wait_until_connected(self) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not all(map(_sees_all, self.sentinels)):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the Sentinels did not discover each other within {WAIT_SECONDS:g} s")
            time.sleep(0.05)


def _sees_all(sentinel: Server) -> bool:
    with contextlib.closing(sentinel.client()) as client:
        answer: Any = client.sentinel_masters()
        state = answer[SERVICE]
        return bool(state["num-other-sentinels"] == SENTINELS - 1 and state["num-slaves"] == REPLICAS)


def _is_primary(server: Server) -> bool:
    with contextlib.closing(server.client()) as client:
        try:
            return bool(client.info("replication")["role"] == "master")
        except redis.RedisError:
            return False
