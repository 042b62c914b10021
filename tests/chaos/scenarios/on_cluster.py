"""A cluster whose primaries die or hang and are replaced by their replica, and whose slots migrate.

A producer's write counts once the replica has it (WAIT), because the replica may take over. Hosts do not wait for
replicas. A settlement may be lost with a primary, so that an entry is delivered again, and so may a lease.
"""

import asyncio
import random
import signal
from collections.abc import Mapping
from typing import Any

from redis import RedisError
from redis.crc import key_slot

from tests.chaos.hosts.keys import KEYS, LEASE
from tests.chaos.scenarios.nodes import LAG_SECONDS, MAX_DOWN_SECONDS, SYNC_SECONDS, cut_off, kill, kill_clients, query
from tests.chaos.scenarios.scenario import DURABLE, Fault, Flushed, client
from tests.servers.catalogue import RELEASES
from tests.servers.cluster import SLOTS, Cluster
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

__all__ = ["OnCluster"]

ANSWER_SECONDS = 2.0


class OnCluster:
    """Three primaries with one replica each."""

    replicas = 1
    durable = False
    exclusive_lease = False

    def __init__(self, rng: random.Random, *, release: str) -> None:
        self.name = f"Cluster, {release}"
        self._rng = rng
        self._release = release
        self.flushed = Flushed()
        self._cluster: Cluster | None = None

    async def start(self) -> None:
        # A replica may take over however long it was disconnected; otherwise a slot could become unavailable for good.
        self._cluster = await asyncio.to_thread(
            Cluster, RELEASES[self._release], *DURABLE, "--cluster-replica-validity-factor", "0"
        )

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
            "slot migration": self._move_slot,
            "CLIENT KILL": self._kill_clients,
        }

    async def port_of(self, key: str) -> int:
        return (await self._primary(key)).port

    async def direct_port_of(self, key: str) -> int:
        return (await self._primary(key)).port

    async def heal(self) -> None:
        await eventually(self._in_sync, seconds=SYNC_SECONDS)

    async def stop(self) -> None:
        if self._cluster is not None:
            self._cluster.stop()

    @property
    def _nodes(self) -> list[Server]:
        assert self._cluster is not None
        return self._cluster.nodes

    @property
    def _running(self) -> Cluster:
        assert self._cluster is not None
        return self._cluster

    async def _primary(self, key: str) -> Server:
        """Return the primary that most nodes report; a node that was suspended may be outdated or not respond."""
        reported = [port for port in await asyncio.gather(*(_primary_port(node, key) for node in self._nodes)) if port]
        if not reported:
            raise RedisError("no node responds")
        port = max(reported, key=reported.count)
        return next(node for node in self._nodes if node.port == port)

    async def _kill_primary(self) -> None:
        key = self._rng.choice((*KEYS, LEASE))
        primary = await self._primary(key)
        await kill(primary)
        await self._failover(primary, key)
        await self._restart(primary)

    async def _stop_primary(self) -> None:
        key = self._rng.choice((*KEYS, LEASE))
        primary = await self._primary(key)
        primary.process.send_signal(signal.SIGSTOP)
        try:
            await self._failover(primary, key)
        finally:
            primary.process.send_signal(signal.SIGCONT)
        await self.heal()

    async def _kill_replica(self) -> None:
        primaries = [await self._primary(key) for key in KEYS]
        replica = self._rng.choice([node for node in self._nodes if node not in primaries])
        await kill(replica)
        await self._restart(replica)

    async def _fail_over_to_lagging(self) -> None:
        key = self._rng.choice((*KEYS, LEASE))
        primary = await self._primary(key)
        replica = await self._replica_of(primary)
        async with cut_off(replica):
            await asyncio.sleep(self._rng.uniform(*LAG_SECONDS))
            await kill(primary)
            await self._failover(primary, key)
        await self._restart(primary)

    async def _replica_of(self, primary: Server) -> Server:
        for node in self._nodes:
            info = await query(node, "INFO", "replication") or {}
            if info.get("role") == "slave" and info.get("master_port") == primary.port:
                return node
        raise LookupError(f"{primary.address} has no replica")

    async def _move_slot(self) -> None:
        key = self._rng.choice((*KEYS, LEASE))
        await asyncio.to_thread(self._running.move_slot_of, key)

    async def _kill_clients(self) -> None:
        await kill_clients((await self._primary(self._rng.choice(KEYS))).port)

    async def _failover(self, primary: Server, key: str) -> None:
        """Wait until another node is the primary of a key."""

        async def replaced() -> bool:
            return await self._primary(key) is not primary

        await eventually(replaced, seconds=SYNC_SECONDS)

    async def _restart(self, node: Server) -> None:
        await asyncio.sleep(self._rng.uniform(0, MAX_DOWN_SECONDS))
        await asyncio.to_thread(node.restart)
        await self.heal()

    async def _in_sync(self) -> bool:
        return all(await asyncio.gather(*(_sees_all(node) for node in self._nodes)))


async def _rows(node: Server) -> list[Any]:
    """Return the raw reply to CLUSTER SLOTS: [first, last, primary, replica, ...], each node as [host, port, ...]."""
    async with client(node.port, ANSWER_SECONDS) as admin:
        admin.response_callbacks.pop("CLUSTER SLOTS", None)
        rows: list[Any] = await admin.execute_command("CLUSTER SLOTS")
    return rows


async def _primary_port(node: Server, key: str) -> int | None:
    """Return the port of a key's primary as one node reports it."""
    try:
        rows = await _rows(node)
    except (RedisError, OSError):
        return None
    slot = key_slot(key.encode())
    return next((int(row[2][1]) for row in rows if row[0] <= slot <= row[1]), None)


async def _sees_all(node: Server) -> bool:
    """Return whether a node reports a primary and a replica for every slot and, if it is a replica, is in sync."""
    try:
        rows = await _rows(node)
    except (RedisError, OSError):
        return False
    info = await query(node, "INFO", "replication") or {}
    in_sync = info.get("role") == "master" or info.get("master_link_status") == "up"
    return in_sync and sum(row[1] - row[0] + 1 for row in rows if len(row) > 3) == SLOTS
