"""Leases that expire before a call starts, when another instance may already hold the entry."""

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
async def test_no_call_starts_after_the_lease_expires(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind
) -> None:
    """An entry whose lease expires while it waits for a thread gets no call; it is delivered again."""
    app, called = App(), list[tuple[str, int]]()
    resume = threading.Event()

    @trigger(app, kind, batch_size=MAX_THREADS + 1)
    def handle(message: RedisMessage) -> None:
        called.append((payload_of(message), message.deliveries))
        assert resume.wait(20)

    await add(client, kind, *map(str, range(MAX_THREADS + 1)))
    async with run_host(app, lease_seconds=1):
        await eventually(lambda: len(called) == MAX_THREADS)
        waiting = str(MAX_THREADS)
        assert waiting not in {payload for payload, _ in called}
        began = boot_seconds()
        await client.execute_command("CLIENT", "PAUSE", 2000)
        await eventually(lambda: boot_seconds() > began + 1.2)  # no renewal was possible, so the lease has expired
        resume.set()
        await eventually(lambda: waiting in {payload for payload, _ in called})
        await eventually(lambda: settled(client, kind))
    assert [deliveries for payload, deliveries in called if payload == waiting] == [2]
