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

__all__ = ["app_server", "app_to_run", "running_app"]


@pytest.fixture
def app_server() -> Iterator[Server]:
    """An empty Valkey of the test's own."""
    with Server(embedded_binary()) as server:
        yield server


@pytest.fixture
def app_to_run() -> App:
    """The app that `running_app` runs. Override this fixture."""
    pytest.fail(
        "app_to_run: Define this fixture in conftest.py and have it return your app: "
        "`@pytest.fixture` above `def app_to_run(): return app`.",
        pytrace=False,
    )


@async_fixture  # type: ignore[untyped-decorator]
async def running_app(app_to_run: App, app_server: Server) -> AsyncIterator[RunningApp]:
    """The app, running on `app_server` during the test."""
    async with running(app_to_run, app_server) as started:
        yield started
