"""The demo's app, with all three triggers. Each call adds a record in Redis, which the summary counts."""

import asyncio
import os

import redis.asyncio
from pydantic import BaseModel

from triggerfish import App, RedisMessage

app = App("demo")

#: Simulates waiting for a payment provider or a database.
WORK_SECONDS = 0.2
_redis = redis.asyncio.Redis.from_url(os.environ.get("DEMO_REDIS", "redis://127.0.0.1:6379"), protocol=2)
_instance = os.environ.get("TRIGGERFISH_INSTANCE", str(os.getpid()))


class Order(BaseModel):
    """An element of the list `orders`, as JSON."""

    number: int
    amount: float


class Payment(BaseModel):
    """An entry of the stream `payments`, as fields."""

    number: int
    method: str


@app.list_trigger(keys="orders", batch_size=50, messages_per_worker=2500, polling_interval_ms=200)
async def handle_order(order: Order) -> None:
    await asyncio.sleep(WORK_SECONDS)
    await _record("orders", str(order.number))


@app.stream_trigger(
    keys="payments",
    consumer_group="billing",
    delete_after_process=True,
    batch_size=50,
    messages_per_worker=2500,
    polling_interval_ms=200,
)
async def settle(payments: list[Payment]) -> None:
    await asyncio.sleep(WORK_SECONDS)
    await _record("payments", *(str(payment.number) for payment in payments))


@app.pubsub_trigger(channel="prices.*")
async def reprice(message: RedisMessage) -> None:
    await _record("prices", message.message)


async def _record(kind: str, *numbers: str) -> None:
    """Count the calls of each entry and the entries of each instance."""
    async with _redis.pipeline(transaction=False) as pipeline:
        for number in numbers:
            pipeline.hincrby(f"demo:handled:{kind}", number, 1)
        pipeline.hincrby(f"demo:by-instance:{kind}", _instance, len(numbers))
        await pipeline.execute()
