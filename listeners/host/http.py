"""The function host's HTTP endpoints: /metrics, /livez and /readyz."""

import asyncio
from collections.abc import AsyncIterator, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from listeners.runtime.http import add_probe_routes, stream

__all__ = ["health_app"]


def health_app(registry: CollectorRegistry, ready: Callable[[], bool], hung: Callable[[], bool]) -> web.Application:
    """Return the web application of the host: probes and /metrics. It is served apart from the functions' loop.

    /livez fails while `hung()`, so that Kubernetes restarts a process whose event loop stands still.
    """

    async def exposition() -> AsyncIterator[bytes]:
        # On a thread, as thousands of series take long enough to delay renewals.
        yield await asyncio.to_thread(generate_latest, registry)

    async def metrics(request: web.Request) -> web.StreamResponse:
        return await stream(request, CONTENT_TYPE_LATEST, exposition())

    app = web.Application()
    add_probe_routes(app, ready, hung)
    app.add_routes([web.get("/metrics", metrics)])
    return app
