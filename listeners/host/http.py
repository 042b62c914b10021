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
    """The host's application: the probes and /metrics."""

    async def metrics(_: web.Request) -> web.Response:
        # Written on a thread: thousands of series take so long that calls would wait.
        body = await asyncio.to_thread(generate_latest, _Collected(list(registry.collect())))
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    add_probe_routes(app, ready)
    app.add_routes([web.get("/metrics", metrics)])
    return app


class _Collected(Collector):
    """Metrics as they were at one time."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return iter(self._metrics)
