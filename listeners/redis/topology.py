"""The servers of one connection, and which of them has a key (Redis Cluster specification)."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import MovedError, RedisError, ResponseError

from listeners.connections.spec import ConnectionSpec, Endpoint
from listeners.keys import SLOTS, key_slot
from listeners.redis.dialer import DialedConnection, Dialer
from listeners.redis.sentinels import Sentinels
from listeners.text import decode

__all__ = ["Topology"]

CONNECT_TIMEOUT_SECONDS = 3.0
#: The most nodes with slots: Redis recommends no larger cluster. A server that a ScaledObject names may have fewer.
MAX_NODES, MAX_UNTRUSTED_NODES = 1_000, 50
_CREDENTIALS = ("username", "password", "credential_provider")


class Topology:
    """The servers of one connection, each with a separate client that connects at its first command.

    Starts with the servers in the connection: one server, the primary behind Sentinels, or nodes of a cluster. It
    becomes a cluster once `refresh` has loaded which node has which slots. `run` runs a command on a node and returns
    its replies.
    """

    def __init__(
        self,
        spec: ConnectionSpec,
        client_name: str,
        *,
        timeout_seconds: float,
        max_connections: int,
        run: Callable[[Redis, tuple[str, ...]], Awaitable[list[Any]]],
    ) -> None:
        self._spec = spec
        self._run = run
        self._dialer = Dialer(spec)
        self._options: dict[str, Any] = {
            "db": spec.database,
            "client_name": re.sub(r"[^!-~]", "-", client_name),
            "max_connections": max_connections,
            **_base_options(timeout_seconds),
            **self._credentials(),
        }
        self._sentinels: Sequence[Redis] = ()
        self._clients: dict[Endpoint, Redis] = {}
        self._first: Redis | None = None
        self._first_index = 0
        #: The primary of each slot; empty until the connection is known to be a cluster.
        self._slots: list[Endpoint] = []
        #: The node that answered CLUSTER SLOTS last, if any.
        self._responder: tuple[Endpoint, ...] = ()
        self._refreshing: asyncio.Task[None] | None = None
        self._stale = False
        self._unresponsive: Redis | None = None

    @property
    def is_cluster(self) -> bool:
        """Whether this is known to be a cluster."""
        return bool(self._slots)

    @property
    def first_node(self) -> Redis:
        """A node for commands without a key: the only one, or any of a cluster."""
        if self._slots:
            return self.node_at(self._slots[0])
        if self._first is None:
            self._first = self._open_first()
        return self._first

    async def any_node(self) -> Redis:
        """Return a node for commands without a key: in a cluster the one that answered last, as others may be down."""
        if self._stale and self._slots:
            await self.refresh()
        return self.node_at(self._responder[0]) if self._responder else self.first_node

    async def node_for(self, key: str) -> Redis:
        """Return the node that has a key. Raises an error of redis-py if no node of the cluster can be reached."""
        if self._stale and self._slots:
            await self.refresh()
        return self.node_at(self._slots[key_slot(key)]) if self._slots else self.first_node

    def primaries(self) -> list[Endpoint]:
        """Return the nodes of a cluster that have slots, as of the last refresh."""
        return list(dict.fromkeys(self._slots))

    def node_at(self, endpoint: Endpoint) -> Redis:
        """Return the client of one node."""
        client = self._clients.get(endpoint)
        if client is None:
            client = self._clients[endpoint] = _with_raw_replies(self._open(endpoint, self._options))
        return client

    def primary_of(self, key: str) -> Endpoint | None:
        """Return the node of a cluster that has a key, as of the last refresh; None without a cluster."""
        return self._slots[key_slot(key)] if self._slots else None

    def watch_connection(self, primary: Endpoint | None) -> DialedConnection:
        """Return a new connection that speaks RESP3; see Client.watch_connection."""
        pool = (self.first_node if primary is None else self.node_at(primary)).connection_pool
        name = f"{self._options['client_name']}:tracking"
        options = {**pool.connection_kwargs, "protocol": 3, "client_name": name}
        return cast("DialedConnection", pool.connection_class(**options))

    async def sentinel_answer(self) -> tuple[str, int] | None:
        """Return the primary that a Sentinel reports now; None without Sentinels."""
        pool = self.first_node.connection_pool
        return await pool.get_master_address() if isinstance(pool, SentinelConnectionPool) else None

    async def invalidate(self, unresponsive: Redis | None = None) -> None:
        """Refresh the slots before the next command, because a node failed to answer.

        `unresponsive`: that node, if known. It is asked last.
        """
        self._stale = True
        self._unresponsive = unresponsive
        if self._slots or self._first is None:
            return
        # A host name may resolve to another server now. Idle connections would still lead to the demoted one.
        await self._first.connection_pool.disconnect(inuse_connections=False)
        if len(self._spec.endpoints) > 1 and self._spec.service is None:
            self._first = None  # another endpoint may be alive
            self._first_index += 1

    async def follow_move(self, error: MovedError) -> None:
        """Refresh the slots, and set the one that a MOVED reply names."""
        await self.refresh()
        if (
            self._slots and 0 <= error.slot_id < SLOTS
        ):  # the node that was asked may lag behind the one that sent the redirect
            self._slots[error.slot_id] = Endpoint(error.host or self._spec.host, error.port)

    async def refresh(self) -> None:
        """Load which node has which slots (CLUSTER SLOTS). Concurrent callers share one request."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._load_slots(), name="CLUSTER SLOTS")
            self._refreshing.add_done_callback(_mark_retrieved)
        await asyncio.shield(self._refreshing)

    async def aclose(self) -> None:
        """Disconnect."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        clients = [*self._clients.values(), *([self._first] if self._first else []), *self._sentinels]
        await asyncio.gather(*(client.aclose() for client in dict.fromkeys(clients)))

    def _open_first(self) -> Redis:
        if self._spec.unix_path is not None:
            where: dict[str, Any] = {"path": self._spec.unix_path, "dialer": self._dialer}
            pool = ConnectionPool(self._dialer.connection_class(), **where, **self._options)
            return _with_raw_replies(Redis.from_pool(pool))
        if self._spec.service is not None:
            return self._open_primary(self._spec.service)
        return self.node_at(self._spec.endpoints[self._first_index % len(self._spec.endpoints)])

    def _open_primary(self, service: str) -> Redis:
        """Return a client that asks the Sentinels for the primary each time it connects."""
        options = {name: value for name, value in self._options.items() if name not in ("db", *_CREDENTIALS)}
        options["username"] = self._spec.sentinel_username
        options["password"] = _secret_value(self._spec.sentinel_password)
        self._sentinels = [self._open(endpoint, options) for endpoint in self._spec.endpoints]
        connection_class = self._dialer.connection_class(sentinel=True)
        primary = Sentinels(self._sentinels).master_for(
            service, connection_class=connection_class, dialer=self._dialer, **self._options
        )
        return _with_raw_replies(primary)

    def _open(self, endpoint: Endpoint, options: dict[str, Any]) -> Redis:
        where: dict[str, Any] = {"host": endpoint.host, "port": endpoint.port, "dialer": self._dialer}
        return Redis.from_pool(ConnectionPool(self._dialer.connection_class(), **where, **options))

    def _credentials(self) -> dict[str, Any]:
        if self._dialer.credentials is not None:
            return {"credential_provider": self._dialer.credentials}
        return {"username": self._spec.username, "password": _secret_value(self._spec.password)}

    async def _load_slots(self) -> None:
        self._stale = False
        last_error: RedisError | OSError | None = None
        # The node that answered last time comes first, as it is the least likely to be down.
        known = dict.fromkeys((*self._responder, *self._slots, *self._spec.endpoints))
        for endpoint in sorted(known, key=self._is_unresponsive):
            try:
                [rows] = await self._run(self.node_at(endpoint), ("CLUSTER", "SLOTS"))
                slots = self._read_slots(rows, endpoint)
            except ResponseError:
                self._stale = True
                raise
            except (RedisError, OSError) as error:
                last_error = error
                continue
            self._responder = (endpoint,)
            self._slots = slots
            await self._close_unused()
            return
        self._stale = True
        if last_error is not None:
            raise last_error

    def _is_unresponsive(self, endpoint: Endpoint) -> bool:
        return self._unresponsive is not None and self._clients.get(endpoint) is self._unresponsive

    def _read_slots(self, rows: Any, asked: Endpoint) -> list[Endpoint]:
        """Return the primary of each slot. Raises ResponseError for a reply that no cluster sends."""
        slots = list(self._slots) or [asked] * SLOTS
        for row in rows if isinstance(rows, list) and len(rows) <= SLOTS else [rows]:
            match row:
                case [int(first), int(last), [bytes() | None as host, int(port), *_], *_] if (
                    0 <= first <= last < SLOTS and 0 < port < 65536
                ):
                    # An empty address means the node that was asked, which does not know its own address.
                    slots[first : last + 1] = [Endpoint(decode(host or b"") or asked.host, port)] * (last + 1 - first)
                case _:
                    raise ResponseError(f"CLUSTER SLOTS replied with a row that is not one: {repr(row)[:80]}")
        max_nodes = MAX_NODES if self._spec.allowed_hosts is None else MAX_UNTRUSTED_NODES
        if len(set(slots)) > max_nodes:
            raise ResponseError(f"CLUSTER SLOTS replied with more than {max_nodes} primaries")
        return slots

    async def _close_unused(self) -> None:
        """Disconnect from nodes that no longer have slots, except those that the connection names."""
        in_use = {*self._slots, *self._spec.endpoints}
        unused = [self._clients.pop(endpoint) for endpoint in list(self._clients) if endpoint not in in_use]
        for client in unused:
            await client.aclose()


def _mark_retrieved(task: asyncio.Task[None]) -> None:
    """Retrieve a task's error, which asyncio logs otherwise if no caller is waiting any longer."""
    if not task.cancelled():
        task.exception()


def _base_options(timeout_seconds: float) -> dict[str, Any]:
    """Return the options of every connection: RESP2, which every version supports, timeouts, and no retries.

    When a reply is lost, the command may have been executed: a second LPOP pops a second element.
    """
    return {
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": min(CONNECT_TIMEOUT_SECONDS, timeout_seconds),
    }


def _with_raw_replies(client: Redis) -> Redis:
    """Make a client return replies as the server sends them. Only INFO is parsed."""
    for command in [command for command in client.response_callbacks if command != "INFO"]:
        del client.response_callbacks[command]
    return client


def _secret_value(secret: Any) -> str | None:
    return secret.get_secret_value() if secret is not None else None
