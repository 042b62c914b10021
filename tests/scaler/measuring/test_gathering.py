"""Requests that come together are measured together, but one that a change has led to does not wait for others."""

import asyncio

import pytest
import redis.asyncio

from listeners.connections.strings import parse_connection_string
from listeners.functions.triggers import ListTrigger
from scaler.measuring.sampler import Sampler
from scaler.triggers.measured_trigger import MeasuredTrigger
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")


async def test_an_urgent_request_ends_the_gathering(
    server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that waits for others to be measured with it is measured as soon as there is an urgent one."""
    monkeypatch.setattr("scaler.measuring.sampler.QUIET_SECONDS", 3600.0)
    monkeypatch.setattr("scaler.measuring.sampler.GATHER_SECONDS", 3600.0)
    await client.rpush("orders", "a", "b")
    sampler = Sampler(
        parse_connection_string(server.address), bound_seconds=36_000.0, on_measured=lambda seconds, error: None
    )
    orders, idle = (MeasuredTrigger(ListTrigger(keys=(key,))) for key in ("orders", "idle"))
    try:
        waiting = asyncio.create_task(sampler.sample(orders))
        done, _ = await asyncio.wait([waiting], timeout=0.1)
        assert not done
        async with asyncio.timeout(30):
            urgent = await sampler.sample(idle, fresh=True)
            assert urgent.backlog.entries == 0
            assert (await waiting).backlog.entries == 2
    finally:
        await sampler.close()
