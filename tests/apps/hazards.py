"""An app whose calls end or hang their process, and record themselves in the list `calls`, as "payload deliveries".

Payloads name what a call does: `poison` ends the process, `block` blocks the event loop and `gil` all threads for
HAZARD_SECONDS; anything else succeeds.
"""

import ctypes
import os
import time

import redis

from triggerfish import App, RedisMessage

app = App("hazards")
client = redis.Redis(port=int(os.environ["RECORDER_PORT"]), protocol=2)
seconds = float(os.environ.get("HAZARD_SECONDS", "2"))


@app.list_trigger(keys="hazards:list", max_deliveries=2)
async def on_element(message: RedisMessage) -> None:
    """Handle an element of the list."""
    handle(message.message, message.deliveries)


@app.stream_trigger(keys="hazards:stream", polling_interval_ms=20, max_deliveries=2)
async def on_entry(message: RedisMessage) -> None:
    """Handle an entry of the stream; its payload is the value of the first field."""
    assert message.fields is not None
    handle(next(iter(message.fields.values())), message.deliveries)


def handle(payload: str, deliveries: int) -> None:
    """Record the call, and do what its payload says."""
    client.rpush("calls", f"{payload} {deliveries}")
    if payload.startswith("poison"):
        os._exit(1)
    elif payload.startswith("block"):
        time.sleep(seconds)
    elif payload.startswith("gil"):
        ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))  # unlike CDLL, it keeps the GIL
    client.rpush("handled", payload)
