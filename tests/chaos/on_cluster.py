"""Primaries of a cluster that die or stand still and are replaced by their replica; and slots that move.

A write counts when the replica has it (WAIT), since it may take over. What hosts write is not waited for: a settlement
may be lost with a primary, so that an entry comes again, and so may a lease.
"""

import asyncio
import random
import signal
from collections.abc import Mapping
from typing import Any

from redis import RedisError
from redis.crc import key_slot

from tests.chaos.nodes import IN_STEP_SECONDS, LONGEST_AWAY_SECONDS, ask, kill, kill_clients
from tests.chaos.producers import KEYS
from tests.chaos.scenario import DURABLE, Fault, client
from tests.chaos.takeovers import LEASE
from tests.servers.catalogue import RELEASES
from tests.servers.cluster import SLOTS, Cluster
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

__all__ = ["OnCluster"]

ANSWER_SECONDS = 2.0


class OnCluster:
    """Three primaries with a replica each."""

    replicas = 1
    durable = False

    def __init__(self, rng: random.Random, *, release: str) -> None:
        self.name = f"Cluster, {release}"
        self._rng = rng
        self._release = release
        self._cluster: Cluster | None = None

    async def start(self) -> None:
        # However long a replica was away it may take over: else a slot could be lost to us for good.
        self._cluster = await asyncio.to_thread(
            Cluster, RELEASES[self._release], *DURABLE, "--cluster-replica-validity-factor", "0"
        )

    @property
    def connection_string(self) -> str:
        return self._running.address

    @property
    def faults(self) -> Mapping[str, Fault]:
        return {
            "primary: SIGKILL, fail-over": self._kill_primary,
            "primary: SIGSTOP past a fail-over": self._stop_primary,
            "replica: SIGKILL, restart": self._kill_replica,
            "slot moved": self._move_slot,
            "CLIENT KILL": self._kill_clients,
        }

    async def port_of(self, key: str) -> int:
        return (await self._primary(key)).port

    async def direct_port_of(self, key: str) -> int:
        return (await self._primary(key)).port

    async def heal(self) -> None:
        await eventually(self._whole, seconds=IN_STEP_SECONDS)

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
        """The node that most nodes name. One that stood still may be wrong for a while, or not answer."""
        named = [port for port in await asyncio.gather(*(_named(node, key) for node in self._nodes)) if port]
        if not named:
            raise RedisError("no node answers")
        port = max(named, key=named.count)
        return next(node for node in self._nodes if node.port == port)

    async def _kill_primary(self) -> None:
        key = self._rng.choice((*KEYS, LEASE))
        primary = await self._primary(key)
        await kill(primary)
        await self._replaced(primary, key)
        await self._back(primary)

    async def _stop_primary(self) -> None:
        key = self._rng.choice((*KEYS, LEASE))
        primary = await self._primary(key)
        primary.process.send_signal(signal.SIGSTOP)
        try:
            await self._replaced(primary, key)
        finally:
            primary.process.send_signal(signal.SIGCONT)
        await self.heal()

    async def _kill_replica(self) -> None:
        primaries = [await self._primary(key) for key in KEYS]
        replica = self._rng.choice([node for node in self._nodes if node not in primaries])
        await kill(replica)
        await self._back(replica)

    async def _move_slot(self) -> None:
        key = self._rng.choice((*KEYS, LEASE))
        await asyncio.to_thread(self._running.move_slot_of, key)

    async def _kill_clients(self) -> None:
        await kill_clients((await self._primary(self._rng.choice(KEYS))).port)

    async def _replaced(self, primary: Server, key: str) -> None:
        async def other_is_named() -> bool:
            return await self._primary(key) is not primary

        await eventually(other_is_named, seconds=IN_STEP_SECONDS)

    async def _back(self, node: Server) -> None:
        await asyncio.sleep(self._rng.uniform(0, LONGEST_AWAY_SECONDS))
        await asyncio.to_thread(node.restart)
        await self.heal()

    async def _whole(self) -> bool:
        return all(await asyncio.gather(*(_sees_all(node) for node in self._nodes)))


async def _rows(node: Server) -> list[Any]:
    """CLUSTER SLOTS as it comes: [first, last, primary, replica, ...], each node as [host, port, ...]."""
    async with client(node.port, ANSWER_SECONDS) as admin:
        admin.response_callbacks.pop("CLUSTER SLOTS", None)
        rows: list[Any] = await admin.execute_command("CLUSTER SLOTS")
    return rows


async def _named(node: Server, key: str) -> int | None:
    """The port of a key's primary, as one node sees it."""
    try:
        rows = await _rows(node)
    except (RedisError, OSError):
        return None
    slot = key_slot(key.encode())
    return next((int(row[2][1]) for row in rows if row[0] <= slot <= row[1]), None)


async def _sees_all(node: Server) -> bool:
    """Whether a node sees every slot with a primary and a replica that work, and is in step if it is a replica."""
    try:
        rows = await _rows(node)
    except (RedisError, OSError):
        return False
    info = await ask(node, "INFO", "replication") or {}
    in_step = info.get("role") == "master" or info.get("master_link_status") == "up"
    return in_step and sum(row[1] - row[0] + 1 for row in rows if len(row) > 3) == SLOTS
