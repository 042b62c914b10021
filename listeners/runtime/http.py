"""HTTP servers: listening on an address, and probe routes."""

import asyncio
import os
from collections.abc import AsyncIterable, Callable, Mapping

from aiohttp import web

from listeners.errors import ConfigurationError

__all__ = ["add_probe_routes", "serve", "stream"]

#: How long a connection may stay open without a request, or with one whose head is incomplete.
IDLE_SECONDS = 60.0
#: How long a client may take to read the whole response.
READ_SECONDS = 60.0


def add_probe_routes(app: web.Application, ready: Callable[[], bool], hung: Callable[[], bool] = lambda: False) -> None:
    """Add /readyz, and /livez, which does not depend on Redis because a restart would not repair Redis."""

    async def livez(_: web.Request) -> web.Response:
        return web.Response(status=503, text="the event loop is blocked\n") if hung() else web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if ready() else web.Response(status=503, text="not ready yet\n")

    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz)])


async def serve(
    app: web.Application, host: str, port: int, *, field: str, shutdown_seconds: float = 2.0, shared: bool = False
) -> tuple[web.AppRunner, int]:
    """Serve on an address. Return the runner, to be cleaned up, and the port (chosen by the system if `port` is 0).

    `field` is the name of the setting of the port. `shared`: another process of this user may serve on the port too.
    Raises ConfigurationError if the address cannot be bound.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=shutdown_seconds, keepalive_timeout=IDLE_SECONDS)
    await runner.setup()
    site = web.TCPSite(runner, host, port, reuse_port=shared or None)
    try:
        async with asyncio.timeout(5):
            await site.start()
    except OSError as error:
        await runner.cleanup()
        variable = f"TRIGGERFISH_{field.replace('.', '__').upper()}"
        fix = f"It cannot be bound ({os.strerror(error.errno or 0)}). Choose another with --http-port or {variable}."
        raise ConfigurationError(field, port, fix) from None
    return runner, runner.addresses[0][1]


async def stream(
    request: web.Request, content_type: str, parts: AsyncIterable[bytes], headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """Respond with all parts, which are made as they are sent. A client that reads too slowly is disconnected."""
    response = web.StreamResponse(headers={**(headers or {}), "Content-Type": content_type})
    try:
        async with asyncio.timeout(READ_SECONDS):
            await response.prepare(request)
            async for part in parts:
                await response.write(part)
            await response.write_eof()
    except ConnectionError:
        pass  # the client disconnected
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    return response
