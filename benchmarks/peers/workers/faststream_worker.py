"""FastStream: lists and channels at most once, streams with a group and XACK at least once."""

import asyncio

import uvloop
from faststream import FastStream
from faststream.redis import ListSub, RedisBroker, StreamSub

from benchmarks.host.contenders.tally import Tally
from benchmarks.host.scenarios import GROUP, KEY, PAYLOAD, Scenario
from benchmarks.peers.workers.parameters import ENTRIES, URL, perform, scenario

PAGE = 1000
tally = Tally()


async def handle(_payload: str) -> None:
    """Handle one message."""
    tally.handled()


async def handle_batch(payloads: list[str]) -> None:
    """Handle a batch."""
    tally.handled(len(payloads))


def subscribe(broker: RedisBroker, wanted: Scenario) -> None:
    """Subscribe the handler to what the scenario reads."""
    if wanted.kind == "pubsub":
        subscriber = broker.subscriber(KEY)
    elif wanted.kind == "list":
        source = ListSub(KEY, batch=wanted.batch_calls, max_records=wanted.batch)
        subscriber = broker.subscriber(list=source, max_workers=1 if wanted.batch_calls else wanted.batch)
    else:
        subscriber = broker.subscriber(stream=stream(wanted))
    subscriber(handle_batch if wanted.batch_calls else handle)


def stream(wanted: Scenario) -> StreamSub:
    """Return a subscription: with a group, which FastStream acknowledges, for at least once; else without one."""
    options = {"group": GROUP, "consumer": "peer"} if wanted.delivery == "at-least-once" else {"last_id": "0"}
    return StreamSub(KEY, batch=wanted.batch_calls, max_records=wanted.batch, polling_interval=100, **options)


async def work() -> None:
    """Handle messages."""
    broker = RedisBroker(URL, logger=None)
    subscribe(broker, scenario())
    await FastStream(broker, logger=None).run()


async def fill() -> None:
    """Publish the backlog; to a channel, one message whose format the benchmark copies."""
    async with RedisBroker(URL, logger=None) as broker:
        if scenario().kind == "pubsub":
            await broker.publish(PAYLOAD, channel=KEY)
        elif scenario().kind == "list":
            await publish_to_list(broker)
        else:
            await publish_to_stream(broker)


async def publish_to_list(broker: RedisBroker) -> None:
    """Publish in batches; each message has the format of `publish`."""
    for at in range(0, ENTRIES, PAGE):
        await broker.publish_batch(*[PAYLOAD] * min(PAGE, ENTRIES - at), list=KEY)


async def publish_to_stream(broker: RedisBroker) -> None:
    """Publish, and create the group at the start of the stream: FastStream would create it at the end."""
    for _ in range(ENTRIES):
        await broker.publish(PAYLOAD, stream=KEY)
    await broker._connection.xgroup_create(KEY, GROUP, "0")


if __name__ == "__main__":
    perform(fill=lambda: asyncio.run(fill()), work=lambda: uvloop.run(work()))
