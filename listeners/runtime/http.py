"""Http: moved out of another file; say what belongs here."""

import asyncio
from collections.abc import Callable

from aiohttp import web

from listeners.errors import ConfigurationError

__all__ = ["add_probe_routes", "serve"]


def add_probe_routes(app: web.Application, ready: Callable[[], bool]) -> None:
    """Add /livez, which never looks at Redis as a restart would not mend it, and /readyz."""

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if ready() else web.Response(status=503, text="not ready yet\n")

    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz)])


async def serve(
    app: web.Application, host: str, port: int, *, setting: str, shutdown_seconds: float = 2.0
) -> tuple[web.AppRunner, int]:
    """Serve on an address; the runner to clean up, and the port (chosen by the system if 0).

    `setting` is the port's name in the settings. Raises ConfigurationError if the address cannot be bound.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=shutdown_seconds)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        async with asyncio.timeout(5):
            await site.start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigurationError(setting, port, f"It cannot be bound ({error.strerror}): choose another.") from None
    return runner, runner.addresses[0][1]
