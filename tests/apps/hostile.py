"""Apps for messages that need much memory. Their functions record what they handled in the list `handled`."""

import asyncio
import os
import resource

import redis
from pydantic import BaseModel

from listeners.functions.triggers import ListTrigger, StreamTrigger
from listeners.host import watchdog
from triggerfish import App, RedisMessage

client = redis.Redis(port=int(os.environ["RECORDER_PORT"]), protocol=2)


def handled(size: int) -> None:
    """Record a call."""
    client.rpush("handled", size)


def down(levels: int) -> None:
    """Raise an exception with a deep traceback."""
    if levels:
        down(levels - 1)
    raise ValueError("x" * 1_000_000)


def chained(exceptions: int) -> None:
    """Raise an exception with a chain of others, each with a deep traceback."""
    try:
        down(900)
    except ValueError as error:
        if exceptions:
            chained(exceptions - 1)
        raise RuntimeError("chained") from error


class Item(BaseModel):
    """Something with a required field, which invalid entries lack."""

    number: int


class Order(BaseModel):
    """A model with a list, each of whose items may be invalid."""

    items: list[Item]


class Node(BaseModel):
    """A recursive model. The errors of an invalid entry double with each of its levels."""

    left: "Node | Leaf | None" = None


class Leaf(BaseModel):
    """A second member of the union."""

    left: "Node | Leaf | None" = None


one = App("one")


@one.list_trigger(keys="list", max_deliveries=2)
async def on_element(message: RedisMessage) -> None:
    """Handle an element of any size."""
    handled(len(message.message))


@one.stream_trigger(keys="stream", polling_interval_ms=20)
async def on_entry(message: RedisMessage) -> None:
    """Handle an entry with any number of fields."""
    handled(len(message.fields or ()))


batches = App("batches")


@batches.list_trigger(keys="batch", batch_size=10)
async def on_batch(messages: list[RedisMessage]) -> None:
    """Handle several elements in one call."""
    for message in messages:
        handled(len(message.message))


fails = App("fails")


@fails.list_trigger(keys="repeats", max_deliveries=1)
async def on_repeated(message: str) -> None:
    """Raise an exception with the message in its text."""
    raise ValueError(f"no {message}")


@fails.list_trigger(keys="text", max_deliveries=1)
async def on_text(message: str) -> None:
    """Raise an exception with a text of 100 MB."""
    raise ValueError("x" * 100_000_000)


@fails.list_trigger(keys="deep", max_deliveries=1)
async def on_deep(message: str) -> None:
    """Raise exceptions with deep tracebacks."""
    chained(20)


@fails.stream_trigger(keys="stream", max_deliveries=1, polling_interval_ms=20)
async def on_bad_entry(message: RedisMessage) -> None:
    """Fail, so that the entry becomes a dead letter."""
    raise ValueError("no stock")


@fails.list_trigger(keys="orders", max_deliveries=2)
async def on_order(order: Order) -> None:
    """Handle an order that is valid."""
    handled(len(order.items))


limited = App("limited")


@limited.list_trigger(keys="nodes", max_deliveries=2)
async def on_node(node: Node) -> None:
    """Handle a node, in a process with a limit of memory."""
    handled(1)


if "ADDRESS_SPACE_BYTES" in os.environ:
    limit = int(os.environ["ADDRESS_SPACE_BYTES"])
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    watchdog.HELD_GIL_SECONDS = 1.0

channel = App("channel")


@channel.pubsub_trigger(channel="channel")
async def on_message(message: RedisMessage) -> None:
    """Handle a message slowly."""
    while client.exists("hold"):
        await asyncio.sleep(0.01)
    handled(len(message.message))


async def on_slow(message: RedisMessage) -> None:
    """Handle one entry beside many others."""
    while client.exists("hold"):
        await asyncio.sleep(0.1)
    handled(len(message.message))


several_lists, several_streams = App("several-lists"), App("several-streams")
for number in range(5):
    key = f"work:{number}"
    several_lists.add(on_slow, ListTrigger(keys=(key,), batch_size=100), name=f"on_{number}")
    stream = StreamTrigger(keys=(key,), batch_size=100, polling_interval_ms=20)
    several_streams.add(on_slow, stream, name=f"on_{number}")
