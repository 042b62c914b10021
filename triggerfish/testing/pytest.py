"""Fixtures for pytest. Write `pytest_plugins = ["triggerfish.testing.pytest"]` in the top-level conftest.py."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from listeners.functions.app import App
from triggerfish.testing.running import RunningApp, running
from triggerfish.testing.server import Server, embedded_binary

try:
    import pytest_asyncio
except ImportError:  # the plugin of anyio takes fixtures as they are
    async_fixture: Any = pytest.fixture
else:
    async_fixture = pytest_asyncio.fixture

__all__ = ["triggerfish_app", "triggerfish_running", "triggerfish_server"]


@pytest.fixture
def triggerfish_server() -> Iterator[Server]:
    """An empty Valkey of the test's own."""
    with Server(embedded_binary()) as server:
        yield server


@pytest.fixture
def triggerfish_app() -> App:
    """The app that `triggerfish_running` runs. Override this fixture."""
    pytest.fail(
        "triggerfish_app: Define this fixture in conftest.py and have it return your app: "
        "`@pytest.fixture` above `def triggerfish_app(): return app`.",
        pytrace=False,
    )


@async_fixture  # type: ignore[untyped-decorator]
async def triggerfish_running(triggerfish_app: App, triggerfish_server: Server) -> AsyncIterator[RunningApp]:
    """The app, running on `triggerfish_server` during the test."""
    async with running(triggerfish_app, triggerfish_server) as started:
        yield started
