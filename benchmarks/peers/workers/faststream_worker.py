"""FastStream: lists and channels at most once, streams with a group and XACK at least once."""

import asyncio

import uvloop
from faststream import FastStream
from faststream.redis import ListSub, RedisBroker, StreamSub

from benchmarks.contenders.tally import Tally
from benchmarks.peers.workers.given import ENTRIES, URL, perform, scenario
from benchmarks.scenarios import GROUP, KEY, PAYLOAD, Scenario

PAGE = 1000
tally = Tally()


async def handle(_payload: str) -> None:
    """One message."""
    tally.handled()


async def handle_batch(payloads: list[str]) -> None:
    """Messages that were taken together."""
    tally.handled(len(payloads))


def subscribe(broker: RedisBroker, asked: Scenario) -> None:
    """The handler, on what the scenario reads."""
    if asked.kind == "pubsub":
        subscriber = broker.subscriber(KEY)
    elif asked.kind == "list":
        source = ListSub(KEY, batch=asked.batch_calls, max_records=asked.batch)
        subscriber = broker.subscriber(list=source, max_workers=1 if asked.batch_calls else asked.batch)
    else:
        subscriber = broker.subscriber(stream=stream(asked))
    subscriber(handle_batch if asked.batch_calls else handle)


def stream(asked: Scenario) -> StreamSub:
    """At least once in a group, which makes FastStream confirm; at most once without."""
    how = {"group": GROUP, "consumer": "peer"} if asked.delivery == "at-least-once" else {"last_id": "0"}
    return StreamSub(KEY, batch=asked.batch_calls, max_records=asked.batch, polling_interval=100, **how)


async def work() -> None:
    """Handle messages."""
    broker = RedisBroker(URL, logger=None)
    subscribe(broker, scenario())
    await FastStream(broker, logger=None).run()


async def fill() -> None:
    """Publish; to a channel it is one message, which shows what they look like."""
    async with RedisBroker(URL, logger=None) as broker:
        if scenario().kind == "pubsub":
            await broker.publish(PAYLOAD, channel=KEY)
        elif scenario().kind == "list":
            await publish_to_list(broker)
        else:
            await publish_to_stream(broker)


async def publish_to_list(broker: RedisBroker) -> None:
    """In batches, each message as `publish` writes it."""
    for at in range(0, ENTRIES, PAGE):
        await broker.publish_batch(*[PAYLOAD] * min(PAGE, ENTRIES - at), list=KEY)


async def publish_to_stream(broker: RedisBroker) -> None:
    """And the group, as FastStream would make it behind what is there already."""
    for _ in range(ENTRIES):
        await broker.publish(PAYLOAD, stream=KEY)
    await broker._connection.xgroup_create(KEY, GROUP, "0")


if __name__ == "__main__":
    perform(fill=lambda: asyncio.run(fill()), work=lambda: uvloop.run(work()))
