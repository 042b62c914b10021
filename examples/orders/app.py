"""An app with start-up work, a context and middleware: it stores orders in SQLite, and counts them in Redis.

Run `triggerfish run examples/orders/app.py`, and add an order: `redis-cli rpush orders '{"number": 1, "amount": 5}'`.
"""

import os
import sqlite3
import time
from collections.abc import AsyncIterator

from pydantic import BaseModel

from triggerfish import App, Call, CallNext, Context, Reject

app = App("orders")


class Order(BaseModel):
    """An element of the list `orders`, as JSON."""

    number: int
    amount: float


@app.lifespan
async def database() -> AsyncIterator[sqlite3.Connection]:
    """Open the database once for all calls of this process, and close it after the last."""
    connection = sqlite3.connect(os.environ.get("ORDERS_DATABASE", "orders.db"))
    connection.execute("CREATE TABLE IF NOT EXISTS orders (number INTEGER PRIMARY KEY, amount REAL)")
    yield connection
    connection.close()
    print("the database is closed")


@app.middleware
async def measure(call: Call, call_next: CallNext) -> None:
    """Log how long each call takes, whether or not it fails."""
    began = time.perf_counter()
    try:
        await call_next()
    finally:
        call.context.log.info("took %.1f ms", (time.perf_counter() - began) * 1000)


@app.list_trigger(keys="orders", batch_size=50)
async def store(order: Order, context: Context[sqlite3.Connection]) -> None:
    """Store an order, whose number makes that idempotent, and count it."""
    if order.amount < 0:
        raise Reject("negative amount")
    with context.state as transaction:
        transaction.execute("INSERT OR REPLACE INTO orders VALUES (?, ?)", (order.number, order.amount))
    await context.redis.pfadd("orders:stored", order.number)
