"""Fixtures for leases in Kubernetes."""

from collections.abc import AsyncIterator

import pytest

from tests.support.kubernetes_api import LeaseApi, lease_api


@pytest.fixture
async def api() -> AsyncIterator[LeaseApi]:
    """A stand-in for the API server, with no Leases yet."""
    async with lease_api() as running:
        yield running
