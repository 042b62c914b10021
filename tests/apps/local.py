"""Apps whose instances a local scaler starts. Each call adds a line "instance payload" to the list `handled`.

Calls do not end while the key `hold` exists. The job `hang` hangs its process for good: nothing else gets the GIL.
"""

import asyncio
import ctypes
import os

import redis.asyncio

from triggerfish import App

jobs = App("jobs")
news = App("news")
mixed = App("mixed")
app = App()
_client = redis.asyncio.Redis.from_url(f"redis://{os.environ.get('TRIGGERFISH_CONNECTION', '127.0.0.1')}", protocol=2)


@app.list_trigger(keys="jobs", batch_size=10, messages_per_worker=10, polling_interval_ms=50)
@mixed.list_trigger(keys="jobs", batch_size=10, messages_per_worker=10, polling_interval_ms=50)
@jobs.list_trigger(keys="jobs", batch_size=10, messages_per_worker=10, polling_interval_ms=50)
async def on_job(job: str) -> None:
    """Handle an element of the list."""
    if job == "hang":
        await _client.incr("hanging")
        libc, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
        libc.pthread_mutex_lock(mutex)
        libc.pthread_mutex_lock(mutex)
    await _record(job)


@app.pubsub_trigger(channel="news")
@mixed.pubsub_trigger(channel="news")
@news.pubsub_trigger(channel="news")
async def on_news(message: str) -> None:
    """Handle a message on the channel."""
    await _record(message)


async def _record(payload: str) -> None:
    await _client.incr("started")
    while await _client.exists("hold"):
        await asyncio.sleep(0.01)
    await _client.rpush("handled", f"{os.environ['TRIGGERFISH_INSTANCE']} {payload}")
