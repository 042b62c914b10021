"""A link that is cut again and again: what was in its answers is called within moments, once and uncounted."""

import asyncio
import random
from collections import Counter

import pytest
import redis.asyncio

from listeners.functions.triggers import DEFAULT_CONSUMER_GROUP
from tests.servers.catalogue import REPRESENTATIVE
from tests.support.network.forwarding import forwarding
from tests.support.running_host import running_host
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases(*REPRESENTATIVE)

TRIGGERS = 20
ENTRIES = 300
CUTS = 60
#: Longer than the test may take, so that no lease ends.
LEASE_SECONDS = 600


class FrayedLink:
    """Cuts each connection after a random number of bytes that the server has sent, until it has made some cuts."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.cuts = 0
        self.address = ""

    async def replies(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        """Pass on what the server sends."""
        left = self.random.randrange(10_000)
        while data := await source.read(65_536):
            if len(data) > left and self.cuts < CUTS:
                self.cuts += 1
                to.write(data[:left])
                return
            left -= len(data)
            to.write(data)


def app_with(called: Counter[str], deliveries: Counter[int]) -> App:
    """Return an app with functions of lists and of streams, which count their calls."""
    app = App("test")

    def add_functions(number: int) -> None:
        async def handle(message: RedisMessage) -> None:
            await asyncio.sleep(0)
            deliveries[message.deliveries] += 1
            payload = message.fields["payload"] if message.fields is not None else message.message
            called[f"{message.trigger} {payload}"] += 1

        handle.__name__ = f"handle_{number}"
        if number % 2:
            app.list_trigger(keys=f"list{number}")(handle)
        else:
            app.stream_trigger(keys=f"stream{number}", polling_interval_ms=50)(handle)

    for number in range(TRIGGERS):
        add_functions(number)
    return app


async def feed(client: redis.asyncio.Redis, entry: int) -> None:
    """Add an entry for each trigger."""
    async with client.pipeline(transaction=False) as pipeline:
        for number in range(TRIGGERS):
            if number % 2:
                pipeline.rpush(f"list{number}", str(entry))
            else:
                pipeline.xadd(f"stream{number}", {"payload": str(entry)})
        await pipeline.execute()


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_link_that_is_cut_repeatedly(server: Server, client: redis.asyncio.Redis, seed: int) -> None:
    """Twenty busy triggers lose answers at random bytes. All entries are called once, uncounted, and settled."""
    called: Counter[str] = Counter()
    deliveries: Counter[int] = Counter()
    link = FrayedLink(seed)
    async with (
        forwarding(server.port, replies=link.replies) as link.address,
        running_host(link, app_with(called, deliveries), lease_seconds=LEASE_SECONDS),
    ):
        for entry in range(ENTRIES):
            await feed(client, entry)
            await asyncio.sleep(0)
        fed = ENTRIES
        while link.cuts < CUTS:
            await feed(client, fed)
            fed += 1
            await asyncio.sleep(0.01)
        await eventually(lambda: len(called) == TRIGGERS * fed)
        await eventually(lambda: _is_settled(client))
    assert set(called.values()) == {1}
    assert set(deliveries) == {1}


async def _is_settled(client: redis.asyncio.Redis) -> bool:
    """Return whether nothing is in flight or pending."""
    pending = [
        (await client.xpending(f"stream{number}", DEFAULT_CONSUMER_GROUP))["pending"]
        for number in range(0, TRIGGERS, 2)
    ]
    return not any(pending) and not await client.keys("triggerfish:*")
