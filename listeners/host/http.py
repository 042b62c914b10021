"""The function host's HTTP endpoints: /metrics, /livez and /readyz."""

import asyncio
from collections.abc import Callable, Iterator

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from listeners.runtime.http import add_probe_routes

__all__ = ["health_app"]


def health_app(registry: CollectorRegistry, ready: Callable[[], bool]) -> web.Application:
    """Return the web application of the host: probes and /metrics."""

    async def metrics(_: web.Request) -> web.Response:
        # On a thread, as thousands of series take long enough to delay calls.
        body = await asyncio.to_thread(generate_latest, _Snapshot(list(registry.collect())))
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    add_probe_routes(app, ready)
    app.add_routes([web.get("/metrics", metrics)])
    return app


class _Snapshot(Collector):
    """A snapshot of the metrics."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return iter(self._metrics)
