"""The function host's HTTP endpoints: /metrics, /livez and /readyz."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Future

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector

from listeners.runtime.http import add_probe_routes, stream
from listeners.runtime.logs import steady_logger

__all__ = ["health_app"]

log = steady_logger("triggerfish.host")

#: How long the app's own collectors may take for one scrape.
APP_METRICS_SECONDS = 3.0


def health_app(registry: CollectorRegistry, ready: Callable[[], bool], hung: Callable[[], bool]) -> web.Application:
    """Return the web application of the host: probes and /metrics. It is served apart from the functions' loop.

    /metrics has `registry`, and prometheus_client's default registry: the process, and the app's own metrics. /livez
    fails while `hung()`, so that Kubernetes restarts a process whose event loop stands still.
    """
    app_metrics = _AppMetrics()

    async def exposition() -> AsyncIterator[bytes]:
        # On a thread, as thousands of series take long enough to delay renewals.
        families = await asyncio.to_thread(lambda: list(registry.collect()))
        yield await asyncio.to_thread(generate_latest, _Families(families))
        if registry is not REGISTRY:
            yield await app_metrics.exposition({family.name for family in families})

    async def metrics(request: web.Request) -> web.StreamResponse:
        return await stream(request, CONTENT_TYPE_LATEST, exposition())

    app = web.Application()
    add_probe_routes(app, ready, hung)
    app.add_routes([web.get("/metrics", metrics)])
    return app


class _AppMetrics:
    """The default registry. Collectors of the app may raise or hang, which costs nothing but their own metrics."""

    def __init__(self) -> None:
        self._collecting: Future[bytes] | None = None

    async def exposition(self, taken: set[str]) -> bytes:
        """Return the metrics as text, without those whose names are taken. Empty if a collector fails."""
        if self._collecting is not None and not self._collecting.done():
            log.warning("the app's own metrics are left out: a collector has not returned")
            return b""
        collecting = self._collecting = Future()
        # A daemon, so that a collector that hangs does not hold up the end of the process.
        threading.Thread(target=_collect, args=(collecting, taken), name="app-metrics", daemon=True).start()
        try:
            return await asyncio.wait_for(asyncio.wrap_future(collecting), APP_METRICS_SECONDS)
        except TimeoutError:
            log.warning("the app's own metrics are left out: a collector took longer than %g s", APP_METRICS_SECONDS)
        except RuntimeError:
            log.exception("the app's own metrics are left out: a collector failed")
        return b""


def _collect(result: "Future[bytes]", taken: set[str]) -> None:
    # The timeout of a scrape must not cancel it: it counts as running until the collectors return.
    result.set_running_or_notify_cancel()
    try:
        result.set_result(_exposition(taken))
    except BaseException as error:  # noqa: BLE001  (a collector is the app's code, and may even raise SystemExit)
        failed = RuntimeError("a collector raised an exception")
        failed.__cause__ = error
        result.set_exception(failed)


def _exposition(taken: set[str]) -> bytes:
    # Prometheus rejects a page on which a metric occurs twice.
    return generate_latest(_Families([family for family in REGISTRY.collect() if family.name not in taken]))


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
