"""The clients that all functions of a process share: few connections, whatever the number of triggers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from listeners.connections.spec import ConnectionSpec
from listeners.redis.app_clients import AppClients
from listeners.redis.client import Client
from listeners.redis.subscriptions.shared import SharedSubscriptions
from listeners.tracking.watch import Watch

__all__ = ["Clients", "SharedClient"]


@dataclass(frozen=True)
class SharedClient:
    """What the functions with one connection share: `leases` is for the event loop that renews leases, and has one
    connection to each node, which no large reply can delay. `functions` has the clients for contexts.
    """

    commands: Client
    leases: Client
    watch: Watch
    subscriptions: SharedSubscriptions
    functions: AppClients


class Clients:
    """Opens a SharedClient for each connection. `on_untold` is called when a Redis has not reported a change."""

    def __init__(self, name: str, on_untold: Callable[[], object]) -> None:
        self._name = name
        self._on_untold = on_untold
        self._clients: dict[ConnectionSpec, SharedClient] = {}

    def of(self, spec: ConnectionSpec) -> SharedClient:
        """Return what the functions with this connection share. It connects at the first command."""
        if spec not in self._clients:
            commands = Client(spec, self._name)
            self._clients[spec] = SharedClient(
                commands,
                Client(spec, f"{self._name}:leases", shared_connections=1),
                Watch(commands, spec.address, self._on_untold),
                SharedSubscriptions(commands),
                AppClients(spec, f"{self._name}:functions", lambda: commands.is_cluster),
            )
        return self._clients[spec]

    async def close_leases_at_end(self) -> None:
        """Wait until cancelled, and disconnect the clients for leases. Run it on the event loop that uses them."""
        try:
            await asyncio.Event().wait()
        finally:
            for client in self._clients.values():
                await client.leases.aclose()

    async def aclose(self) -> None:
        """Disconnect all others."""
        for client in self._clients.values():
            await client.functions.aclose()
            await client.subscriptions.aclose()
            await client.watch.close()
            await client.commands.aclose()
