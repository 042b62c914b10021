"""An app with all three triggers, two of them on a named connection. It notes in Redis what it was called with."""

import os

import redis.asyncio

from triggerfish import App, RedisMessage

app = App("shop")
notes = redis.asyncio.Redis(port=int(os.environ.get("NOTES_PORT", "6379")), protocol=2)


@app.list_trigger(keys="orders", connection="cache", messages_per_worker=2)
async def handle_order(order: str) -> None:
    """An element of the list."""
    await notes.rpush("noted", f"order {order}")


@app.stream_trigger(keys=["payments", "refunds"], connection="cache", consumer_group="billing")
async def settle(payment: dict[str, str]) -> None:
    """An entry of one of the streams."""
    await notes.rpush("noted", f"payment {payment['number']}")


@app.pubsub_trigger(channel="cancelled")
async def forget(message: RedisMessage) -> None:
    """A message on the channel, on the default connection."""
    await notes.rpush("noted", f"cancelled {message.message}")
