"""Clients for sources that tests open without a host."""

import contextlib
from collections.abc import AsyncIterator

from listeners.connections.spec import ConnectionSpec
from listeners.host.clients import Clients, SharedClient


@contextlib.asynccontextmanager
async def shared_client(spec: ConnectionSpec, *, watched: bool = True) -> AsyncIterator[SharedClient]:
    """What the sources of one instance share. Leases are renewed on the same event loop.

    Unless `watched`, keys are polled, and commands have the only connections.
    """
    clients = Clients("test", on_untold=lambda: None)
    shared = clients.of(spec)
    if not watched:
        await shared.watch.close()
    try:
        yield shared
    finally:
        await shared.leases.aclose()
        await clients.aclose()
