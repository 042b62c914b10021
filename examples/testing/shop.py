# shop.py
from pydantic import BaseModel

from triggerfish import App, Context, Reject

app = App("shop")


class Order(BaseModel):
    number: int
    amount: float


@app.list_trigger(keys="orders", connection="cache", max_deliveries=3, call_timeout_seconds=5)
async def handle_order(order: Order) -> str:
    if order.amount < 0:
        raise Reject("negative amount")
    return f"order {order.number}"


@app.stream_trigger(keys="payments", consumer_group="billing")
def settle(payments: list[dict[str, str]]) -> None:
    for payment in payments:
        if payment["method"] == "card":
            raise ConnectionError("the bank does not answer")


@app.list_trigger(keys="parcels", connection="cache")
async def ship(item: str, context: Context[dict[str, int]]) -> None:
    await context.redis.incrby(f"shipped:{item}", context.state[item])
