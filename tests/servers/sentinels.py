"""A real primary with two replicas, watched by three Sentinels."""

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
    """A Sentinel that takes a server for the primary, whatever that one says, until it is down for so long."""
    if release.binary is None:
        raise RuntimeError(f"{release.name} is not on this machine")
    with tempfile.TemporaryDirectory(prefix="triggerfish-sentinel-") as folder:
        file = Path(folder, "sentinel.conf")
        file.write_text(CONFIGURATION.format(port=primary.port, down_after_ms=down_after_ms))
        with Server(release.binary, "--sentinel", port=free_port(), configuration=file) as sentinel:
            yield sentinel


class Sentinels:
    """Three data servers and three Sentinels. `arguments` are the data servers' own, such as "--appendonly", "yes"."""

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
            self._until_all_see_each_other()
        except BaseException:
            self._stack.close()
            raise

    @property
    def address(self) -> str:
        """A connection string that names the Sentinels and the service."""
        return ",".join(sentinel.address for sentinel in self.sentinels) + f",serviceName={SERVICE}"

    @property
    def primary(self) -> Server:
        """The primary, as the Sentinels see it."""
        for sentinel in self.sentinels:
            with contextlib.closing(sentinel.client()) as client:
                _, port = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
                return next(server for server in self.servers if server.port == int(port))
        raise LookupError("no Sentinel answers")

    def kill_primary(self) -> Server:
        """SIGKILL the primary, and wait until another one has taken over; the killed server."""
        killed = self.primary
        killed.process.kill()
        killed.process.wait()
        self.await_other_primary(killed)
        return killed

    def await_other_primary(self, former: Server) -> None:
        """Wait until another server than the former primary is one, and says so itself."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self.primary is former or not _is_primary(self.primary):
            if time.monotonic() > deadline:
                raise RuntimeError("the Sentinels did not fail over in time")
            time.sleep(0.02)

    def stop(self) -> None:
        """End every server."""
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

    def _until_all_see_each_other(self) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not all(map(_sees_all, self.sentinels)):
            if time.monotonic() > deadline:
                raise RuntimeError("the Sentinels did not find each other in time")
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
