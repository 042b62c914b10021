"""Exceptions and entries that are made to break a host: a failed call each, and the host goes on."""

import json
from collections import Counter

import pytest
import redis.asyncio
from pydantic import BaseModel

from tests.listeners.engine.failures.raised import ExitOnTextError, InterruptOnTextError
from tests.servers.catalogue import REPRESENTATIVE
from tests.support.running_host import RunHost
from tests.support.trigger_kinds import KEY, Kind, add, both_kinds, dead_letters, payload_of, settled, trigger
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage

pytestmark = [pytest.mark.usefixtures("quick_retries", "quick_reclaims"), pytest.mark.releases(*REPRESENTATIVE)]


class Node(BaseModel):
    """A recursive model. The errors of an invalid entry double with each of its levels."""

    left: "Node | Leaf | None" = None


class Leaf(BaseModel):
    """A second member of the union."""

    left: "Node | Leaf | None" = None


class Item(BaseModel):
    """Something with a required field."""

    number: int


class Order(BaseModel):
    """A model with a list, each of whose items may be invalid."""

    items: list[Item]


def nested(levels: int) -> str:
    """Return an invalid Node with this many levels."""
    return '{"left":' * levels + "7" + "}" * levels


@pytest.mark.parametrize("raised", [ExitOnTextError, InterruptOnTextError])
@both_kinds
async def test_an_exception_whose_text_raises(
    client: redis.asyncio.Redis,
    run_host: RunHost,
    kind: Kind,
    raised: type[Exception],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The entry is retried and dead-lettered with the exception's class, and the next entry is handled."""
    app, handled = App(), Counter[str]()

    @trigger(app, kind, max_deliveries=2)
    async def on_entry(message: RedisMessage) -> None:
        handled[payload_of(message)] += 1
        if payload_of(message) == "bad":
            raise raised

    await add(client, kind, "bad")
    async with run_host(app):
        [letter] = await eventually(lambda: dead_letters(client))
        await add(client, kind, "good")
        await eventually(lambda: handled["good"])
        await eventually(lambda: settled(client, kind))
    assert handled == {"bad": 2, "good": 1}
    assert (letter[b"error"], letter[b"deliveries"]) == (raised.__name__.encode(), b"2")
    assert any(f"dead-lettered (try 2 of 2): {raised.__name__}" in line for line in caplog.messages)


@both_kinds
async def test_a_recursive_union_that_is_too_large(client: redis.asyncio.Redis, run_host: RunHost, kind: Kind) -> None:
    """An entry above host.max_model_bytes is rejected without validation, which would never end."""
    app = App()

    @trigger(app, kind, max_deliveries=2)
    async def on_entry(node: Node) -> None:
        raise AssertionError("it was called")

    payload = nested(200)
    if kind == "list":
        await client.rpush(KEY, payload)
    else:
        await client.xadd(KEY, {"left": payload})
    async with run_host(app, max_model_bytes=1_000):
        [letter] = await eventually(lambda: dead_letters(client))
        await eventually(lambda: settled(client, kind))
    assert b"bytes are more than host.max_model_bytes (1,000)" in letter[b"error"]
    assert letter[b"deliveries"] == b"1"


async def test_very_many_validation_errors(
    client: redis.asyncio.Redis, run_host: RunHost, caplog: pytest.LogCaptureFixture
) -> None:
    """Of 500,000 errors only the number and the model's name are given."""
    app = App()

    @app.list_trigger(keys=KEY, max_deliveries=2)
    async def on_element(order: Order) -> None:
        raise AssertionError("it was called")

    payload = json.dumps({"items": [{"number": "secret"}] + [{}] * 499_999}, separators=(",", ":"))
    await client.rpush(KEY, payload)
    async with run_host(app):
        [letter] = await eventually(lambda: dead_letters(client))
    assert letter[b"error"] == b"Reject: not a valid Order (errors: 500000)"
    assert "items.0" not in caplog.text
    assert "secret" not in caplog.text
