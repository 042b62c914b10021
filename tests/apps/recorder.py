"""Records in Redis what it handles: `started:KIND` and `handled:KIND` are lists of "instance payload deliveries".

While the key `hold` exists, calls do not end. The payload `poison` ends the process.
"""

import asyncio
import os

import redis.asyncio

from triggerfish import App, RedisMessage

app = App("recorder")
client = redis.asyncio.Redis(port=int(os.environ["RECORDER_PORT"]), protocol=2)


@app.list_trigger(keys="work:list", max_deliveries=2)
async def on_element(message: RedisMessage) -> None:
    """An element of the list."""
    await record("list", message.message, message.deliveries)


@app.stream_trigger(keys="work:stream", polling_interval_ms=20, max_deliveries=2)
async def on_entry(message: RedisMessage) -> None:
    """An entry of the stream; its payload is the first field's value."""
    assert message.fields is not None
    await record("stream", message.fields[0][1].decode(), message.deliveries)


@app.pubsub_trigger(channel="work:pubsub")
async def on_message(message: RedisMessage) -> None:
    """A message on the channel."""
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
