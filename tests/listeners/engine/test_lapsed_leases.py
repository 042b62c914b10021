"""Leases that expire before a call starts, when another instance may already hold the entry."""

import time

import pytest
import redis
import redis.asyncio

from tests.servers.catalogue import REPRESENTATIVE
from tests.support.running_host import RunHost
from tests.support.trigger_kinds import Kind, add, both_kinds, payload_of, settled, trigger
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage
from triggerfish.testing.server import Server

pytestmark = [pytest.mark.usefixtures("quick_retries", "quick_reclaims"), pytest.mark.releases(*REPRESENTATIVE)]


@both_kinds
async def test_no_call_starts_after_the_lease_expires(
    client: redis.asyncio.Redis, server: Server, run_host: RunHost, kind: Kind
) -> None:
    """An entry whose lease expires while another call blocks the event loop gets no call; it comes back."""
    app, called = App(), list[tuple[str, int]]()
    administrator = redis.Redis(port=server.port, protocol=2)

    @trigger(app, kind, batch_size=2)
    async def handle(message: RedisMessage) -> None:
        called.append((payload_of(message), message.deliveries))
        if len(called) == 1:
            administrator.execute_command("CLIENT", "PAUSE", 2000)  # no renewal is possible, so the lease expires
            time.sleep(1.2)  # noqa: ASYNC251  (it blocks the loop, on which the other call would start)

    await add(client, kind, "first", "second")
    async with run_host(app, lease_seconds=1) as host:
        labels = {"app": "test", "function": "handle", "outcome": "lapsed"}
        await eventually(lambda: host.registry.get_sample_value("triggerfish_entries_settled_total", labels) == 1)
        await eventually(lambda: ("second", 1) in called)
        await eventually(lambda: settled(client, kind))
    administrator.close()
    assert {deliveries for _, deliveries in called} == {1}
