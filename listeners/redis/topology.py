"""The servers behind one connection: opening them, and knowing which one has a key (Redis Cluster specification)."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import MovedError, RedisError, ResponseError

from listeners.connections.spec import ConnectionSpec, Endpoint
from listeners.keys import SLOTS, key_slot
from listeners.redis.dialer import Dialer
from listeners.redis.sentinels import Sentinels
from listeners.text import decode

__all__ = [
    "Topology",
]

CONNECT_TIMEOUT_SECONDS = 3.0
_IDENTITY = ("username", "password", "credential_provider")


class Topology:
    """The servers of one connection, each with a client of its own that connects at its first command.

    Begins with what the connection names: a server, the primary that Sentinels know, or nodes of a cluster; it becomes
    a cluster once `refresh` has learnt which node has which slots.
    """

    def __init__(self, spec: ConnectionSpec, client_name: str, *, timeout_seconds: float, max_connections: int) -> None:
        self._spec = spec
        self._dialer = Dialer(spec)
        self._options: dict[str, Any] = {
            "db": spec.database,
            "client_name": re.sub(r"[^!-~]", "-", client_name),
            "max_connections": max_connections,
            **_bounds(timeout_seconds),
            **self._identity(),
        }
        self._sentinels: Sequence[Redis] = ()
        self._opened: dict[Endpoint, Redis] = {}
        self._first: Redis | None = None
        self._seed = 0
        #: The primary of each slot; empty until the connection is known to be a cluster.
        self._slots: list[Endpoint] = []
        self._informant: tuple[Endpoint, ...] = ()
        self._refreshing: asyncio.Task[None] | None = None
        self._in_doubt = False
        self._silent: Redis | None = None

    @property
    def is_cluster(self) -> bool:
        """Whether the keys are spread over several nodes."""
        return bool(self._slots)

    @property
    def first_node(self) -> Redis:
        """A node for what has no key: the only one, or any of a cluster."""
        if self._slots:
            return self.node_at(self._slots[0])
        if self._first is None:
            self._first = self._open_first()
        return self._first

    async def any_node(self) -> Redis:
        """A node for what has no key, of a cluster one that has answered: the others may be down."""
        if self._in_doubt and self._slots:
            await self.refresh()
        return self.node_at(self._informant[0]) if self._informant else self.first_node

    async def node_for(self, key: str) -> Redis:
        """The node that has a key. Raises an error of redis-py if no node of the cluster can be asked."""
        if self._in_doubt and self._slots:
            await self.refresh()
        return self.node_at(self._slots[key_slot(key)]) if self._slots else self.first_node

    def primaries(self) -> list[Endpoint]:
        """The nodes of a cluster that have slots, as last seen."""
        return list(dict.fromkeys(self._slots))

    def node_at(self, endpoint: Endpoint) -> Redis:
        """The client of one node."""
        client = self._opened.get(endpoint)
        if client is None:
            client = self._opened[endpoint] = _answering_raw(self._open(endpoint, self._options))
        return client

    async def invalidate(self, silent: Redis | None = None) -> None:
        """A node did not answer as it should: find out anew, before the next command, where it has to go.

        `silent`: that node, if it is known; it is asked last.
        """
        self._in_doubt = True
        self._silent = silent
        if self._slots or self._first is None:
            return
        # A name may stand for another server now: an idle connection would go on to the one that was demoted.
        await self._first.connection_pool.disconnect(inuse_connections=False)
        if len(self._spec.endpoints) > 1 and self._spec.service is None:
            self._first = None  # another endpoint may be alive
            self._seed += 1

    async def follow_move(self, error: MovedError) -> None:
        """Learn where a slot went, and what else changed with it."""
        await self.refresh()
        if self._slots:  # a node that was asked may know less than the one that said so
            self._slots[error.slot_id] = Endpoint(error.host or self._spec.host, error.port)

    async def refresh(self) -> None:
        """Ask the nodes which of them has which slots (CLUSTER SLOTS); whoever asks at one time shares the answer."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._ask_for_slots(), name="CLUSTER SLOTS")
            self._refreshing.add_done_callback(_retrieved)
        await asyncio.shield(self._refreshing)

    async def aclose(self) -> None:
        """Disconnect."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        clients = [*self._opened.values(), *([self._first] if self._first else []), *self._sentinels]
        await asyncio.gather(*(client.aclose() for client in dict.fromkeys(clients)))

    def _open_first(self) -> Redis:
        if self._spec.unix_path is not None:
            return _answering_raw(Redis(unix_socket_path=self._spec.unix_path, **self._options))
        if self._spec.service is not None:
            return self._open_primary(self._spec.service)
        return self.node_at(self._spec.endpoints[self._seed % len(self._spec.endpoints)])

    def _open_primary(self, service: str) -> Redis:
        """A client that asks the Sentinels where the primary is each time it connects."""
        options = {name: value for name, value in self._options.items() if name not in ("db", *_IDENTITY)}
        options["username"] = self._spec.sentinel_username
        options["password"] = _revealed(self._spec.sentinel_password)
        self._sentinels = [self._open(endpoint, options) for endpoint in self._spec.endpoints]
        connection_class = self._dialer.connection_class(sentinel=True)
        primary = Sentinels(self._sentinels).master_for(
            service, connection_class=connection_class, dialer=self._dialer, **self._options
        )
        return _answering_raw(primary)

    def _open(self, endpoint: Endpoint, options: dict[str, Any]) -> Redis:
        where: dict[str, Any] = {"host": endpoint.host, "port": endpoint.port, "dialer": self._dialer}
        return Redis.from_pool(ConnectionPool(self._dialer.connection_class(), **where, **options))

    def _identity(self) -> dict[str, Any]:
        if self._dialer.credentials is not None:
            return {"credential_provider": self._dialer.credentials}
        return {"username": self._spec.username, "password": _revealed(self._spec.password)}

    async def _ask_for_slots(self) -> None:
        self._in_doubt = False
        trouble: RedisError | OSError | None = None
        # The one that answered last time comes first: it is the least likely to be down.
        known = dict.fromkeys((*self._informant, *self._slots, *self._spec.endpoints))
        for endpoint in sorted(known, key=self._is_silent):
            try:
                rows = await self.node_at(endpoint).execute_command("CLUSTER SLOTS")
            except ResponseError:
                self._in_doubt = True
                raise
            except (RedisError, OSError) as error:
                trouble = error
                continue
            self._informant = (endpoint,)
            self._learn(rows, endpoint)
            await self._forget_others()
            return
        self._in_doubt = True
        if trouble is not None:
            raise trouble

    def _is_silent(self, endpoint: Endpoint) -> bool:
        return self._silent is not None and self._opened.get(endpoint) is self._silent

    def _learn(self, rows: Sequence[Any], asked: Endpoint) -> None:
        slots = self._slots or [asked] * SLOTS
        for first, last, primary, *_ in rows:
            # A node that does not know its own address leaves it empty: it is the one that was asked.
            endpoint = Endpoint(decode(primary[0] or b"") or asked.host, primary[1])
            slots[first : last + 1] = [endpoint] * (last + 1 - first)
        self._slots = slots

    async def _forget_others(self) -> None:
        """Disconnect from nodes that have no slots any more; those that the connection names stay."""
        wanted = {*self._slots, *self._spec.endpoints}
        gone = [self._opened.pop(endpoint) for endpoint in list(self._opened) if endpoint not in wanted]
        for client in gone:
            await client.aclose()


def _retrieved(task: asyncio.Task[None]) -> None:
    """Look at the error of a task that nobody may wait for any more."""
    if not task.cancelled():
        task.exception()


def _bounds(timeout_seconds: float) -> dict[str, Any]:
    """What every connection has: RESP2, which every version speaks, bounded waits, and no command sent twice.

    A reply that was lost may mean a command that was done: a second LPOP takes a second element.
    """
    return {
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": min(CONNECT_TIMEOUT_SECONDS, timeout_seconds),
    }


def _answering_raw(client: Redis) -> Redis:
    """Answers come as the server sends them; only INFO is parsed."""
    for command in [command for command in client.response_callbacks if command != "INFO"]:
        del client.response_callbacks[command]
    return client


def _revealed(secret: Any) -> str | None:
    return secret.get_secret_value() if secret is not None else None
