"""An app for the dashboards: a list, some of whose elements fail permanently, a stream, and pub/sub."""

import asyncio

from triggerfish import App, RedisMessage

app = App("shop")

#: One in this many orders fails at every delivery.
FAILING_ORDER = 40
ORDER_SECONDS = 0.2
PAYMENTS_SECONDS = 0.15


@app.list_trigger(keys="orders", batch_size=20, messages_per_worker=150, max_deliveries=2, polling_interval_ms=200)
async def handle_order(order: str) -> None:
    await asyncio.sleep(ORDER_SECONDS * (0.5 + int(order) % 10 / 10))
    if int(order) % FAILING_ORDER == 0:
        raise ValueError(f"order {order} cannot be handled")


@app.stream_trigger(
    keys="payments", consumer_group="billing", batch_size=20, messages_per_worker=150, polling_interval_ms=200
)
async def settle(payments: list[dict[str, str]]) -> None:
    await asyncio.sleep(PAYMENTS_SECONDS)


@app.pubsub_trigger(channel="prices.*")
async def reprice(message: RedisMessage) -> None: ...
