"""The function host's HTTP endpoints: /metrics, /livez and /readyz."""

import asyncio
from collections.abc import Callable, Iterator

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from listeners.errors import ConfigurationError

__all__ = ["add_probe_routes", "health_app", "serve"]


def health_app(registry: CollectorRegistry, ready: Callable[[], bool]) -> web.Application:
    """The host's application: the probes and /metrics."""

    async def metrics(_: web.Request) -> web.Response:
        # Written on a thread: thousands of series take so long that calls would wait.
        body = await asyncio.to_thread(generate_latest, _Collected(list(registry.collect())))
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    add_probe_routes(app, ready)
    app.add_routes([web.get("/metrics", metrics)])
    return app


def add_probe_routes(app: web.Application, ready: Callable[[], bool]) -> None:
    """Add /livez, which never looks at Redis as a restart would not mend it, and /readyz."""

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if ready() else web.Response(status=503, text="not ready yet\n")

    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz)])


class _Collected(Collector):
    """Metrics as they were at one time."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return iter(self._metrics)


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
