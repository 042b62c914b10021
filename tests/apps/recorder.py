"""An app that records its calls in the lists `started:KIND` and `handled:KIND`, as "instance payload deliveries".

Calls do not end while the key `hold` exists. The payload `poison` ends the process.
"""

import asyncio
import os

import redis.asyncio

from triggerfish import App, RedisMessage

app = App("recorder")
client = redis.asyncio.Redis(port=int(os.environ["RECORDER_PORT"]), protocol=2)


@app.list_trigger(keys="work:list", max_deliveries=2)
async def on_element(message: RedisMessage) -> None:
    """Handle an element of the list."""
    await record("list", message.message, message.deliveries)


@app.stream_trigger(keys="work:stream", polling_interval_ms=20, max_deliveries=2)
async def on_entry(message: RedisMessage) -> None:
    """Handle an entry of the stream; its payload is the value of the first field."""
    assert message.fields is not None
    await record("stream", next(iter(message.fields.values())), message.deliveries)


@app.pubsub_trigger(channel="work:pubsub")
async def on_message(message: RedisMessage) -> None:
    """Handle a message on the channel."""
    await record("pubsub", message.message, message.deliveries)


async def record(kind: str, payload: str, deliveries: int) -> None:
    """Record the start and the end of a call."""
    line = f"{os.environ['TRIGGERFISH_INSTANCE']} {payload} {deliveries}"
    await client.rpush(f"started:{kind}", line)
    if payload == "poison":
        os._exit(1)
    while await client.exists("hold"):
        await asyncio.sleep(0.01)
    await client.rpush(f"handled:{kind}", line)
