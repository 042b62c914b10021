"""What the seed's triggers do, on every server release."""

import redis.asyncio

from listeners import App, RedisMessage
from tests.conftest import RunHost
from tests.waiting import eventually


async def test_every_element_is_handled_and_the_list_is_empty_after(
    client: redis.asyncio.Redis, run_host: RunHost
) -> None:
    """A1: RPUSH q a b calls the handler for both; nothing is left in the list or in flight."""
    app, handled = App(), []

    @app.list_trigger(keys="q")
    async def on_element(message: RedisMessage) -> None:
        handled.append((message.trigger, message.message))

    async with run_host(app):
        await client.rpush("q", "a", "b")
        await eventually(lambda: len(handled) == 2, seconds=1)
    assert handled == [("q", "a"), ("q", "b")]
    assert await client.llen("q") == 0
    assert await client.zcard("triggerfish:{q}:inflight") == 0
