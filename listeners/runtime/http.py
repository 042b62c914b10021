"""HTTP servers: listening on an address, and probe routes."""

import asyncio
import os
from collections.abc import Callable

from aiohttp import web

from listeners.errors import ConfigurationError

__all__ = ["add_probe_routes", "serve"]


def add_probe_routes(app: web.Application, ready: Callable[[], bool], hung: Callable[[], bool] = lambda: False) -> None:
    """Add /readyz, and /livez, which does not depend on Redis because a restart would not repair Redis."""

    async def livez(_: web.Request) -> web.Response:
        return web.Response(status=503, text="the event loop is blocked\n") if hung() else web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if ready() else web.Response(status=503, text="not ready yet\n")

    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz)])


async def serve(
    app: web.Application, host: str, port: int, *, field: str, shutdown_seconds: float = 2.0
) -> tuple[web.AppRunner, int]:
    """Serve on an address. Return the runner, to be cleaned up, and the port (chosen by the system if `port` is 0).

    `field` is the name of the setting of the port. Raises ConfigurationError if the address cannot be bound.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=shutdown_seconds)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        async with asyncio.timeout(5):
            await site.start()
    except OSError as error:
        await runner.cleanup()
        variable = f"TRIGGERFISH_{field.replace('.', '__').upper()}"
        fix = f"It cannot be bound ({os.strerror(error.errno or 0)}). Choose another with --http-port or {variable}."
        raise ConfigurationError(field, port, fix) from None
    return runner, runner.addresses[0][1]
