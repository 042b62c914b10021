"""/metrics of the host: its own metrics, those of the process, and those of the app."""

import threading
from collections.abc import Iterable, Iterator

import aiohttp
import pytest
from prometheus_client import REGISTRY, Counter, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from tests.support.running_host import RunHost
from tests.support.waiting import eventually
from triggerfish import App
from triggerfish.testing.server import free_port

pytestmark = pytest.mark.releases("valkey-9.1")


class AppCollector(Collector):
    """A collector of an app, which does what a test sets."""

    def __init__(self) -> None:
        self.families: list[Metric] = []
        self.error: BaseException | None = None
        self.may_return = threading.Event()
        self.may_return.set()

    def collect(self) -> Iterable[Metric]:
        self.may_return.wait()
        if self.error is not None:
            raise self.error
        return self.families


@pytest.fixture
def collector() -> Iterator[AppCollector]:
    """A collector in prometheus_client's default registry."""
    found = AppCollector()
    REGISTRY.register(found)
    yield found
    found.may_return.set()
    REGISTRY.unregister(found)


def an_app() -> App:
    app = App("test")

    @app.list_trigger(keys="list")
    def on_element(element: str) -> None:
        pass

    return app


async def names(port: int) -> list[str]:
    """Return the names of the families on the page, in order."""
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/metrics") as response:
        assert response.status == 200
        return [family.name for family in text_string_to_metric_families(await response.text())]


async def test_the_process_and_the_app(run_host: RunHost) -> None:
    """The default registry is served with the host's metrics."""
    orders = Counter("shop_orders", "Orders of a test.")
    port = free_port()
    try:
        async with run_host(an_app(), http_port=port, http_host="127.0.0.1"):
            orders.inc()
            found = await names(port)
    finally:
        REGISTRY.unregister(orders)
    assert {"triggerfish_entries_received", "process_resident_memory_bytes", "python_info", "shop_orders"} <= {*found}
    assert len(found) == len(set(found))


async def test_a_name_that_is_taken(run_host: RunHost, collector: AppCollector) -> None:
    """A metric of the app with the name of one of the host's is left out, or Prometheus would reject the page."""
    collector.families = [Metric(name, "x", "gauge") for name in ("triggerfish_source_up", "shop_open")]
    port = free_port()
    async with run_host(an_app(), http_port=port, http_host="127.0.0.1"):
        found = await names(port)
    assert (found.count("triggerfish_source_up"), found.count("shop_open")) == (1, 1)


async def test_a_collector_that_raises_or_hangs(
    run_host: RunHost, collector: AppCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs only the app's own metrics, and they come back."""
    monkeypatch.setattr("listeners.host.http.APP_METRICS_SECONDS", 0.2)
    collector.families = [Metric("shop_open", "x", "gauge")]
    port = free_port()
    async with run_host(an_app(), http_port=port, http_host="127.0.0.1"):
        for error in (RuntimeError("the app's mistake"), SystemExit(1), StopIteration()):
            collector.error = error
            assert await _only_the_host(port)
        collector.error = None
        await eventually(lambda: _served(port, "shop_open"))
        collector.may_return.clear()
        assert await _only_the_host(port)
        assert await _only_the_host(port)
        collector.may_return.set()
        await eventually(lambda: _served(port, "shop_open"))


async def _only_the_host(port: int) -> bool:
    found = await names(port)
    return "triggerfish_source_up" in found and "shop_open" not in found


async def _served(port: int, name: str) -> bool:
    return name in await names(port)
