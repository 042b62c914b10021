"""Clients for sources that tests open without a host."""

import contextlib
from collections.abc import AsyncIterator

from listeners.connections.spec import ConnectionSpec
from listeners.host.clients import Clients, SharedClient


@contextlib.asynccontextmanager
async def shared_client(spec: ConnectionSpec) -> AsyncIterator[SharedClient]:
    """What the sources of one instance share. Leases are renewed on the same event loop."""
    clients = Clients("test", on_untold=lambda: None)
    shared = clients.of(spec)
    try:
        yield shared
    finally:
        await shared.leases.aclose()
        await clients.aclose()
