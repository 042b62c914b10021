"""One server that keeps every confirmed write, behind an unreliable network."""

import asyncio
import random
import signal
from collections.abc import Mapping

from listeners.redis.client import SOCKET_TIMEOUT_SECONDS
from tests.chaos.faults.proxy import NetworkFault, Proxy
from tests.chaos.scenarios.scenario import DURABLE, Fault, Flushed, client
from tests.servers.catalogue import RELEASES, Release
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

__all__ = ["Standalone"]

MAX_DOWN_SECONDS = 1.5
MAX_DELAY_SECONDS = 0.05
#: How long a round trip takes that is too slow at times, in time limits of a host's command.
SLOW_ROUND_TRIPS = (0.7, 1.4)
ADMIN_TIMEOUT_SECONDS = 10.0


class Standalone:
    """One server of a release behind a proxy.

    `stop_seconds` is the range of how long the server is suspended. `rng` makes every random choice of the faults.
    """

    replicas = 0
    durable = True
    exclusive_lease = True

    def __init__(self, rng: random.Random, *, release: str, stop_seconds: tuple[float, float]) -> None:
        self.name = f"standalone {release}"
        self._rng = rng
        self._release = release
        self._stop_seconds = stop_seconds
        self.flushed = Flushed()
        self._server: Server | None = None
        self._proxy: Proxy | None = None

    async def start(self) -> None:
        self._server = await asyncio.to_thread(self._start_server, RELEASES[self._release])
        self._proxy = Proxy(self._server.port)
        await self._proxy.start()

    def _start_server(self, release: Release) -> Server:
        return release.start(*DURABLE)

    @property
    def connection_string(self) -> str:
        return f"127.0.0.1:{self._running[1].port}"

    @property
    def faults(self) -> Mapping[str, Fault]:
        network = {f"network: {fault}": self._network_fault(fault) for fault in NetworkFault}
        return {
            "server: SIGKILL, restart": self._kill_server,
            "server: SIGSTOP, SIGCONT": self._stop_server,
            "network: slow": self._slow_down,
            "network: replies after the time limit": self._slow_down_beyond_limit,
            **network,
            "CLIENT KILL": self._kill_clients,
        }

    async def port_of(self, key: str) -> int:
        return self._running[1].port

    async def direct_port_of(self, key: str) -> int:
        return self._running[0].port

    async def heal(self) -> None:
        server, proxy = self._running
        proxy.delay_seconds = 0.0
        if server.process.poll() is not None:
            await asyncio.to_thread(server.restart)
        server.process.send_signal(signal.SIGCONT)
        async with client(server.port, ADMIN_TIMEOUT_SECONDS) as admin:
            await eventually(admin.ping)

    async def stop(self) -> None:
        if self._proxy is not None:
            await self._proxy.stop()
        if self._server is not None:
            self._server.stop()

    @property
    def _running(self) -> tuple[Server, Proxy]:
        assert self._server is not None
        assert self._proxy is not None
        return self._server, self._proxy

    async def _kill_server(self) -> None:
        server, _ = self._running
        server.process.kill()
        await asyncio.to_thread(server.process.wait)
        await asyncio.sleep(self._rng.uniform(0, MAX_DOWN_SECONDS))
        await asyncio.to_thread(server.restart)

    async def _stop_server(self) -> None:
        server, _ = self._running
        server.process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(self._rng.uniform(*self._stop_seconds))
        finally:
            server.process.send_signal(signal.SIGCONT)

    async def _slow_down(self) -> None:
        await self._delay(self._rng.uniform(0, MAX_DELAY_SECONDS))

    async def _slow_down_beyond_limit(self) -> None:
        await self._delay(SOCKET_TIMEOUT_SECONDS / 2 * self._rng.uniform(*SLOW_ROUND_TRIPS))

    async def _delay(self, seconds: float) -> None:
        _, proxy = self._running
        proxy.delay_seconds = seconds
        try:
            await asyncio.sleep(self._rng.uniform(*self._stop_seconds))
        finally:
            proxy.delay_seconds = 0.0

    def _network_fault(self, fault: NetworkFault) -> Fault:
        async def inject() -> None:
            self._running[1].inject(fault, self._rng.uniform(0.05, 0.6), self._rng)

        return inject

    async def _kill_clients(self) -> None:
        kind = self._rng.choice(("NORMAL", "PUBSUB"))
        async with client(self._running[0].port, ADMIN_TIMEOUT_SECONDS) as admin:
            await admin.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
