"""Entries of which a few together are too large for the link to Redis."""

import functools

import pytest
import redis.asyncio

from listeners.redis.client import Client
from tests.support.network.narrow_link import narrow_link
from tests.support.running_host import running_host
from tests.support.trigger_kinds import Kind, add, both_kinds, dead_letters, payload_of, settled, trigger
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage
from triggerfish.testing.server import Server

pytestmark = pytest.mark.usefixtures("quick_retries", "quick_reclaims")

ENTRY_BYTES = 60_000
#: Replies with three entries do not arrive.
MAX_REPLY_BYTES = 150_000


@pytest.mark.releases("redis-6.2", "redis-7.0", "valkey-9.1")
@both_kinds
async def test_entries_too_large_to_arrive_together(
    server: Server, client: redis.asyncio.Redis, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a reply that did not arrive, fewer entries are taken, until all are handled; none is dead-lettered."""
    app, handled = App(), set[str]()

    @trigger(app, kind, batch_size=10, max_deliveries=1)
    async def handle(message: RedisMessage) -> None:
        handled.add(payload_of(message)[:2])

    monkeypatch.setattr(Client, "__init__", functools.partialmethod(Client.__init__, timeout_seconds=1.5))
    await add(client, kind, *(f"{number:02}".ljust(ENTRY_BYTES) for number in range(40)))
    async with narrow_link(server.port, MAX_REPLY_BYTES) as link, running_host(link, app, lease_seconds=6) as host:
        await eventually(lambda: len(handled) == 40, seconds=60)
        await eventually(lambda: settled(client, kind), seconds=20)
        labels = {"app": "test", "function": "handle"}
        delayed = host.registry.get_sample_value("triggerfish_entries_redelivered_total", labels) or 0
    assert await dead_letters(client) == []
    assert (
        delayed <= 30
    )  # at most those of the replies of 10 and 5 entries, and of a few larger than 2; others are adopted
