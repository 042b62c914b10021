"""Sources of lists, without a host, and what the tests read from Redis beside them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from listeners.connections.strings import parse_connection_string
from listeners.engine.metrics import FunctionMetrics, HostMetrics
from listeners.functions.triggers import ListTrigger
from listeners.lists.source import ListSource
from triggerfish.testing.server import Server

OpenSource = Callable[..., Awaitable[ListSource]]


@pytest.fixture
def registry() -> CollectorRegistry:
    """The metrics of the sources."""
    return CollectorRegistry()


@pytest.fixture
async def open_source(server: Server, registry: CollectorRegistry) -> AsyncIterator[OpenSource]:
    """Opens sources, each of them another instance: `await open_source(keys="q", lease_seconds=30)`."""
    opened: list[ListSource] = []
    metrics = FunctionMetrics(HostMetrics(registry), "test", "handle")

    async def open_one(
        *, lease_seconds: float = 30.0, login: str = "", address: str = "", **options: Any
    ) -> ListSource:
        trigger = ListTrigger(**{"keys": "q", "polling_interval_ms": 20, **options})
        spec = parse_connection_string((address or server.address) + login)
        source = ListSource(trigger, "handle", spec, client_name="test", lease_seconds=lease_seconds, metrics=metrics)
        opened.append(source)
        await source.open()
        return source

    yield open_one
    for source in opened:
        await source.close()
