"""An app with all three triggers, two of them on a named connection. It records its arguments in Redis."""

import os

import redis.asyncio

from triggerfish import App, RedisMessage

app = App("shop")
notes = redis.asyncio.Redis(port=int(os.environ.get("NOTES_PORT", "6379")), protocol=2)


@app.list_trigger(keys="orders", connection="cache", messages_per_worker=2)
async def handle_order(order: str) -> None:
    """Handle an element of the list."""
    await notes.rpush("noted", f"order {order}")


@app.stream_trigger(keys=["payments", "refunds"], connection="cache", consumer_group="billing")
async def settle(payment: dict[str, str]) -> None:
    """Handle an entry of one of the streams."""
    await notes.rpush("noted", f"payment {payment['number']}")


@app.pubsub_trigger(channel="cancelled")
async def forget(message: RedisMessage) -> None:
    """Handle a message on the channel of the default connection."""
    await notes.rpush("noted", f"cancelled {message.message}")
