"""The connections over which everything that uses one client subscribes: at most one to each server."""

import asyncio
import math
import time
from collections.abc import Callable

from redis.asyncio import ConnectionPool

from listeners.connections.spec import Endpoint
from listeners.redis.client import Client
from listeners.redis.server_info import ServerInfo
from listeners.redis.subscriptions.connection import SubscribedConnection
from listeners.redis.subscriptions.node_subscription import NodeSubscription
from listeners.redis.subscriptions.subscription import Message

__all__ = ["SharedSubscriptions"]

#: For how long the primaries of a cluster, as last read, serve further callers.
PRIMARIES_SECONDS = 0.5


class SharedSubscriptions:
    """Opens subscriptions that share one connection to each server. A connection is closed with its last subscription.

    A connection that has ended is replaced by the next subscription. Methods may raise SourceError.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._connections: dict[ConnectionPool, SubscribedConnection] = {}
        #: Held while routes are replaced.
        self._lock = asyncio.Lock()
        self._asking: asyncio.Task[ServerInfo] | None = None
        self._primaries: list[Endpoint] = []
        self._primaries_read_at = -math.inf

    async def is_cluster(self) -> bool:
        """Return whether this is a cluster. Concurrent callers share one request, and later ones its result."""
        if self._asking is None or (self._asking.done() and not _succeeded(self._asking)):
            self._asking = asyncio.create_task(self._client.server(), name="INFO server")
            self._asking.add_done_callback(_succeeded)
        await asyncio.shield(self._asking)
        return self._client.is_cluster

    async def open(
        self, channel: str, on_message: Callable[[Message], bool], on_end: Callable[[], object]
    ) -> NodeSubscription:
        """Return an empty subscription at a node where `channel` can be subscribed to; in a cluster, any node can."""
        await self._replace_routes()
        return self._subscription(await self._client.subscription_pool(channel), on_message, on_end)

    def open_at(
        self, primary: Endpoint, on_message: Callable[[Message], bool], on_end: Callable[[], object]
    ) -> NodeSubscription:
        """Return an empty subscription at this node of a cluster."""
        return self._subscription(self._client.subscription_pool_at(primary), on_message, on_end)

    async def primaries(self) -> list[Endpoint]:
        """Return the nodes of a cluster that have slots now, or had half a second ago."""
        if time.monotonic() - self._primaries_read_at > PRIMARIES_SECONDS:
            self._primaries = await self._client.primaries()
            self._primaries_read_at = time.monotonic()
        return self._primaries

    async def aclose(self) -> None:
        """Close all connections, which ends all subscriptions."""
        if self._asking is not None:
            self._asking.cancel()
        connections, self._connections = self._connections, {}
        await asyncio.gather(*(connection.close() for connection in connections.values()))

    async def _replace_routes(self) -> None:
        """If a connection was lost, find its server again: a host name or the Sentinels may name another one by now."""
        async with self._lock:
            lost = [pool for pool, connection in self._connections.items() if connection.lost]
            self._connections = {pool: each for pool, each in self._connections.items() if not each.ended}
            if lost:
                await self._client.invalidate_routes()

    def _subscription(
        self, pool: ConnectionPool, on_message: Callable[[Message], bool], on_end: Callable[[], object]
    ) -> NodeSubscription:
        connection = self._connections.get(pool)
        if connection is None or connection.ended:
            connection = self._connections[pool] = SubscribedConnection(pool)
        return NodeSubscription(connection, on_message, on_end)


def _succeeded(task: "asyncio.Task[ServerInfo]") -> bool:
    """Return whether a task that is done has a result. Its error counts as retrieved: asyncio logs others."""
    return not task.cancelled() and task.exception() is None
