"""The protocol of scenarios: which servers run, what hosts connect to, and which faults can be injected.

To add a scenario, write a class that implements the protocol and add it to SCENARIOS in tests.chaos.__main__.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.chaos.records.letters import Letter

__all__ = ["DURABLE", "Fault", "Flushed", "Scenario", "client"]

#: With these arguments, a server keeps every confirmed write even after SIGKILL.
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")

#: Injects a fault and returns when it is over.
Fault = Callable[[], Awaitable[None]]


@dataclass
class Flushed:
    """What FLUSHALL has removed: the payloads of unfinished entries, and dead letters."""

    entries: set[str] = field(default_factory=set)
    dead_letters: list[Letter] = field(default_factory=list)


class Scenario(Protocol):
    """Servers that fail. `name` is shown in reports."""

    name: str
    #: Number of replicas that must have a write before it counts as confirmed (WAIT).
    replicas: int
    #: Whether hosts' writes are never lost. If they may be, leases and settlements may be lost too.
    durable: bool
    #: Whether at most one host holds the pub/sub lease at a time.
    exclusive_lease: bool
    flushed: Flushed

    async def start(self) -> None:
        """Start the servers, and any proxy between them and their clients."""
        ...

    @property
    def connection_string(self) -> str:
        """The connection string of the hosts."""
        ...

    @property
    def faults(self) -> Mapping[str, Fault]:
        """The faults of servers and network, by the name shown in reports. Each is over when it returns."""
        ...

    async def port_of(self, key: str) -> int:
        """Return the port of a key's primary for clients that share the hosts' network faults.

        Raises RedisError or OSError.
        """
        ...

    async def direct_port_of(self, key: str) -> int:
        """Return the port of a key's primary, without any proxy. Raises RedisError or OSError."""
        ...

    async def heal(self) -> None:
        """Make sure that every server runs and responds."""
        ...

    async def stop(self) -> None:
        """Stop all servers."""
        ...


def client(port: int, timeout_seconds: float) -> redis.asyncio.Redis:
    """Return a client that never retries a command: without a reply, it is unknown whether the command was executed."""
    return redis.asyncio.Redis(
        port=port,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
    )
