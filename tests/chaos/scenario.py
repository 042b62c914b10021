"""Where the app is put under fire: how the servers are started, what the hosts connect to, and which faults there are.

A further scenario is a further class with this shape, in SCENARIOS of __main__.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

__all__ = ["DURABLE", "Fault", "Scenario", "client"]

#: Servers keep what they confirm through kill -9.
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")

#: Draws what it needs, does the damage, and returns when what lasts for a while is over.
Fault = Callable[[], Awaitable[None]]


class Scenario(Protocol):
    """Servers that fail. `name` is for people."""

    name: str
    #: Replicas that must have a write before it counts as confirmed (WAIT).
    replicas: int
    #: Whether what hosts write is never lost. If it may be, so may a lease, or that an entry was handled.
    durable: bool

    async def start(self) -> None:
        """Start the servers, and what stands between them and their clients."""
        ...

    @property
    def connection_string(self) -> str:
        """What the hosts are given."""
        ...

    @property
    def faults(self) -> Mapping[str, Fault]:
        """The faults of servers and network, by a name for people. Each is over when it returns."""
        ...

    async def port_of(self, key: str) -> int:
        """Where a client that suffers with the hosts reaches a key's primary now. Raises RedisError or OSError."""
        ...

    async def direct_port_of(self, key: str) -> int:
        """Where a key's primary is, past every proxy. Raises RedisError or OSError."""
        ...

    async def heal(self) -> None:
        """See that every server runs and answers."""
        ...

    async def stop(self) -> None:
        """End all servers."""
        ...


def client(port: int, timeout_seconds: float) -> redis.asyncio.Redis:
    """A client that never sends anything twice: what it got no answer to is not known to be done."""
    return redis.asyncio.Redis(
        port=port,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
    )
