"""Leases that run out before a call begins: the entry may be another instance's by then."""

import threading

import pytest
import redis.asyncio

from listeners.engine.executor import MAX_THREADS
from listeners.runtime.clock import boot_seconds
from tests.support.running_host import RunHost
from tests.support.trigger_kinds import Kind, add, both_kinds, payload_of, settled, trigger
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage

pytestmark = pytest.mark.usefixtures("quick_retries", "quick_reclaims")


@both_kinds
async def test_no_call_begins_after_the_lease(client: redis.asyncio.Redis, run_host: RunHost, kind: Kind) -> None:
    """An entry that waited for a thread until its lease had run out is not called for: it is delivered anew."""
    app, called = App(), list[tuple[str, int]]()
    go_on = threading.Event()

    @trigger(app, kind, batch_size=MAX_THREADS + 1)
    def handle(message: RedisMessage) -> None:
        called.append((payload_of(message), message.deliveries))
        assert go_on.wait(20)

    await add(client, kind, *map(str, range(MAX_THREADS + 1)))
    async with run_host(app, lease_seconds=1):
        await eventually(lambda: len(called) == MAX_THREADS)
        late = str(MAX_THREADS)
        assert late not in {payload for payload, _ in called}
        began = boot_seconds()
        await client.execute_command("CLIENT", "PAUSE", 2000)
        await eventually(lambda: boot_seconds() > began + 1.2)  # nothing could be renewed, so the lease is over
        go_on.set()
        await eventually(lambda: late in {payload for payload, _ in called})
        await eventually(lambda: settled(client, kind))
    assert [deliveries for payload, deliveries in called if payload == late] == [2]
