"""Sources of lists, without a host, and what the tests read from Redis beside them."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from listeners.connections.strings import parse_connection_string
from listeners.engine.metrics import FunctionMetrics, HostMetrics
from listeners.functions.triggers import ListTrigger
from listeners.lists.source import ListSource
from tests.support.clients import shared_client
from triggerfish.testing.server import Server

OpenSource = Callable[..., Awaitable[ListSource]]


@pytest.fixture
def registry() -> CollectorRegistry:
    """The metrics of the sources."""
    return CollectorRegistry()


@pytest.fixture
async def open_source(server: Server, registry: CollectorRegistry) -> AsyncIterator[OpenSource]:
    """Opens sources, each of them another instance: `await open_source(keys="q", lease_seconds=30)`."""
    opened = contextlib.AsyncExitStack()
    metrics = FunctionMetrics(HostMetrics(registry), "test", "handle")

    async def open_one(
        *, lease_seconds: float = 30.0, login: str = "", address: str = "", **options: Any
    ) -> ListSource:
        trigger = ListTrigger(**{"keys": "q", "polling_interval_ms": 20, **options})
        spec = parse_connection_string((address or server.address) + login)
        shared = await opened.enter_async_context(shared_client(spec, watched=not address))
        source = ListSource(
            trigger,
            "handle",
            shared.commands,
            shared.leases,
            shared.watch,
            lease_seconds=lease_seconds,
            metrics=metrics,
        )
        opened.push_async_callback(source.close)
        await source.open()
        return source

    async with opened:
        yield open_one
