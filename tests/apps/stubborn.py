"""An app whose calls never end: one blocks its thread, one ignores cancellation. Each adds its payload to `started`."""

import asyncio
import os
import threading

import redis.asyncio

from triggerfish import App

app = App("stubborn")
client = redis.asyncio.Redis.from_url(f"redis://{os.environ.get('TRIGGERFISH_CONNECTION', '127.0.0.1')}", protocol=2)
blocking = redis.Redis.from_url(f"redis://{os.environ.get('TRIGGERFISH_CONNECTION', '127.0.0.1')}", protocol=2)


@app.list_trigger(keys="for:thread")
def on_thread(element: str) -> None:
    """Block the thread of the call."""
    blocking.rpush("started", element)
    threading.Event().wait()


@app.stream_trigger(keys="for:loop", polling_interval_ms=20)
async def on_loop(fields: dict[str, str]) -> None:
    """Ignore every cancellation."""
    await client.rpush("started", fields["payload"])
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue
