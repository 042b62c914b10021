"""Runs a host in the test's process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from pydantic import SecretStr

from listeners.connections.named import Connections
from listeners.settings import HostSettings
from tests.support.waiting import eventually
from triggerfish import App, Host

__all__ = ["Addressed", "RunHost", "running_host"]

RunHost = Callable[..., AbstractAsyncContextManager[Host]]


class Addressed(Protocol):
    """Anything that a host can connect to: a server, a cluster, Sentinels."""

    @property
    def address(self) -> str: ...


@contextlib.asynccontextmanager
async def running_host(
    server: Addressed, app: App, *, instance: str | None = None, ready: bool = True, **settings: object
) -> AsyncIterator[Host]:
    """Run the app in this process and drain it after the block. With `ready`, the block begins once the host is ready.

    The other keyword arguments are HostSettings.
    """
    app.set_default_name("test")
    host = Host(app, Connections(SecretStr(server.address)), HostSettings.model_validate(settings), instance=instance)
    running = asyncio.create_task(host.run())
    try:
        await eventually(lambda: host.ready or not ready or running.done())
        yield host
    finally:
        host.drain()
        async with asyncio.timeout(30):
            await running
