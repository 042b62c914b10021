"""A primary under Sentinel that dies or hangs and is replaced.

A producer's write counts once both replicas have it (WAIT), because either may take over. Hosts do not wait for
replicas. A settlement may be lost with a primary, so that an entry is delivered again, and so may a lease. A primary
that was replaced refuses writes, as docs/how-to/operations.md recommends.
"""

import asyncio
import random
import signal
from collections.abc import Mapping

from tests.chaos.scenarios.nodes import LAG_SECONDS, MAX_DOWN_SECONDS, SYNC_SECONDS, cut_off, kill, kill_clients, query
from tests.chaos.scenarios.scenario import DURABLE, Fault, Flushed
from tests.servers.catalogue import RELEASES
from tests.servers.sentinels import Sentinels
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

__all__ = ["UnderSentinel"]


#: With these arguments, a primary without replicas refuses writes.
REFUSING = ("--min-replicas-to-write", "1")


class UnderSentinel:
    """A primary with two replicas, and three Sentinels."""

    replicas = 2
    durable = False
    exclusive_lease = False

    def __init__(self, rng: random.Random, *, release: str) -> None:
        self.name = f"Sentinel, {release}"
        self._rng = rng
        self._release = release
        self.flushed = Flushed()
        self._sentinels: Sentinels | None = None

    async def start(self) -> None:
        self._sentinels = await asyncio.to_thread(Sentinels, RELEASES[self._release], *DURABLE, *REFUSING)

    @property
    def connection_string(self) -> str:
        return self._running.address

    @property
    def faults(self) -> Mapping[str, Fault]:
        return {
            "primary: SIGKILL, failover": self._kill_primary,
            "primary: SIGSTOP until after failover": self._stop_primary,
            "replica: SIGKILL, restart": self._kill_replica,
            "replica: lags, failover to it": self._fail_over_to_lagging,
            "CLIENT KILL": self._kill_clients,
        }

    async def port_of(self, key: str) -> int:
        return (await self._primary()).port

    async def direct_port_of(self, key: str) -> int:
        return (await self._primary()).port

    async def heal(self) -> None:
        await eventually(self._in_sync, seconds=SYNC_SECONDS)

    async def stop(self) -> None:
        if self._sentinels is not None:
            self._sentinels.stop()

    @property
    def _running(self) -> Sentinels:
        assert self._sentinels is not None
        return self._sentinels

    async def _primary(self) -> Server:
        return await asyncio.to_thread(lambda: self._running.primary)

    async def _kill_primary(self) -> None:
        await self._restart(await asyncio.to_thread(self._running.kill_primary))

    async def _stop_primary(self) -> None:
        primary = await self._primary()
        primary.process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.to_thread(self._running.await_other_primary, primary)
        finally:
            primary.process.send_signal(signal.SIGCONT)
        await self.heal()

    async def _kill_replica(self) -> None:
        primary = await self._primary()
        replica = self._rng.choice([server for server in self._running.servers if server is not primary])
        await kill(replica)
        await self._restart(replica)

    async def _fail_over_to_lagging(self) -> None:
        primary = await self._primary()
        lagging, other = self._rng.sample([server for server in self._running.servers if server is not primary], 2)
        async with cut_off(lagging):
            await asyncio.sleep(self._rng.uniform(*LAG_SECONDS))
            await asyncio.gather(kill(other), kill(primary))
            await asyncio.to_thread(self._running.await_other_primary, primary)
        for server in (other, primary):
            await asyncio.to_thread(server.restart, "--replicaof", "127.0.0.1", str(lagging.port))
        await self.heal()

    async def _restart(self, server: Server) -> None:
        """Restart a killed server as a replica; otherwise it would be a primary until the Sentinels reconfigure it."""
        await asyncio.sleep(self._rng.uniform(0, MAX_DOWN_SECONDS))
        await asyncio.to_thread(server.restart, "--replicaof", "127.0.0.1", str((await self._primary()).port))
        await self.heal()

    async def _kill_clients(self) -> None:
        await kill_clients((await self._primary()).port)

    async def _in_sync(self) -> bool:
        primary = await self._primary()
        others = [server for server in self._running.servers if server is not primary]
        return all([await _replicates(server, primary) for server in others])


async def _replicates(server: Server, primary: Server) -> bool:
    info = await query(server, "INFO", "replication") or {}
    return info.get("master_link_status") == "up" and info.get("master_port") == primary.port
