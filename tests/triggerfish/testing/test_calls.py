"""Calls without a server: what a function receives, and how misuse is explained."""

import asyncio
from typing import Any

import pytest

from listeners.errors import ConfigurationError
from triggerfish import App, Fields, RedisMessage
from triggerfish.testing import call, call_sync

app = App("kit")
received: list[Any] = []


@app.list_trigger(keys=["orders", "returns"])
def on_element(message: RedisMessage) -> None:
    received.append(message)


@app.list_trigger(keys="batches", batch_size=2)
def on_elements(elements: list[bytes]) -> None:
    received.append(elements)


@app.stream_trigger(keys=["payments", "refunds"])
def on_entry(message: RedisMessage) -> None:
    received.append(message)


@app.pubsub_trigger(channel="news")
def on_news(message: RedisMessage) -> None:
    received.append(message)


@app.pubsub_trigger(channel="prices.*", singleton=False)
def on_price(message: RedisMessage) -> None:
    received.append(message)


def unregistered(_: str) -> None:
    """Belong to no app."""


def registered_twice(_: str) -> None:
    """Have two triggers."""


app.add(registered_twice, app.functions["on_element"].trigger, "first")
app.add(registered_twice, app.functions["on_element"].trigger, "second")


@pytest.fixture(autouse=True)
def _nothing_received() -> None:
    received.clear()


def test_a_list_element() -> None:
    """Text and bytes are elements of the first list. A RedisMessage names another, and its delivery."""
    call_sync(app, on_element, "a")
    call_sync(app, "on_element", b"\xff", deliveries=3)
    call_sync(app, on_element, RedisMessage("returns", "\udcff", deliveries=2))
    assert received == [
        RedisMessage("orders", "a"),
        RedisMessage("orders", "\udcff", deliveries=3),
        RedisMessage("returns", "\udcff", deliveries=2),
    ]


def test_a_stream_entry() -> None:
    """Fields are text, bytes or numbers, as redis-py takes them. Without a RedisMessage, the entry is of now."""
    call_sync(app, on_entry, {"number": 1, "price": 2.5, "name": "a"})
    call_sync(app, on_entry, {b"\xff": b"\xfe"})
    call_sync(app, on_entry, RedisMessage("refunds", "", id="1-2", fields=Fields([(b"a", b"1"), (b"a", b"2")])))
    assert [message.fields.pairs() for message in received] == [
        ((b"number", b"1"), (b"price", b"2.5"), (b"name", b"a")),
        ((b"\xff", b"\xfe"),),
        ((b"a", b"1"), (b"a", b"2")),
    ]
    assert [message.trigger for message in received] == ["payments", "payments", "refunds"]
    assert received[2].id == "1-2"
    assert int(received[0].id.partition("-")[0]) > 1_700_000_000_000


def test_a_message() -> None:
    """A message has the channel, the pattern, and the token of the lease if the function has one."""
    call_sync(app, on_news, "a")
    call_sync(app, on_news, RedisMessage("news", "b", epoch=7))
    call_sync(app, on_price, RedisMessage("prices.eur", "c"))
    assert received == [
        RedisMessage("news", "a", epoch=1),
        RedisMessage("news", "b", epoch=7),
        RedisMessage("prices.eur", "c", pattern="prices.*"),
    ]


def test_a_batch() -> None:
    """A list is one call with a result for each, and a single entry a batch of one. What failed before is alone."""
    assert [result.succeeded for result in call_sync(app, on_elements, ["a", b"b"])] == [True, True]
    assert call_sync(app, on_elements, "c").succeeded
    call_sync(app, on_elements, ["d", "e"], deliveries=2)
    assert received == [[b"a", b"b"], [b"c"], [b"d"], [b"e"]]


@pytest.mark.parametrize(
    ("function", "entry", "deliveries", "message"),
    [
        ("on_elemen", "a", None, r"invalid function 'on_elemen': Did you mean on_element\? The app has on_element, "),
        (unregistered, "a", None, r"invalid function .*unregistered.*Give the name of one of its functions: on_el"),
        (registered_twice, "a", None, r"invalid function .*several triggers. Give the name of one: first, second"),
        (on_element, {"a": "b"}, None, r"invalid entry .*RedisListTrigger, whose entries have no fields. Give str or"),
        (on_element, 5, None, r"invalid entry 5: .*json\.dumps"),
        (on_element, ["a"], None, r"invalid entry 'a list of 1': .*Call it once for each"),
        (on_element, RedisMessage("order", "a"), None, r"invalid entry.trigger 'order': .*orders, returns"),
        (on_element, "a", 0, r"invalid deliveries 0: .*Give 1 or more"),
        (on_elements, [], None, r"invalid entry 'a list of 0': .*from 1 to 2"),
        (on_elements, ["a", "b", "c"], None, r"invalid entry 'a list of 3': .*from 1 to 2"),
        (on_entry, "a", None, r"invalid entry 'a': .*RedisStreamTrigger. Give the fields"),
        (on_entry, {}, None, r"invalid entry {}: .*Give the fields"),
        (on_entry, {"a": None}, None, r"entry: .*Give str, bytes, int or float"),
        (on_entry, RedisMessage("payments", "a"), None, r"invalid entry .*Give the fields"),
        (on_news, "a", 2, r"invalid deliveries 2: .*Leave it out"),
        (on_news, RedisMessage("olds", "a"), None, r"invalid entry.trigger 'olds': .*news"),
        (on_price, "1", None, r"invalid entry '1': .*pattern. Give RedisMessage\(trigger=CHANNEL"),
    ],
)
def test_misuse(function: Any, entry: Any, deliveries: int | None, message: str) -> None:
    """An error names what was given and the fix, and nothing is called."""
    with pytest.raises(ConfigurationError, match=message):
        call_sync(app, function, entry, deliveries=deliveries)
    assert received == []


async def test_the_sync_variant_in_an_async_test() -> None:
    """It cannot run where an event loop runs, and says what to write there."""
    with pytest.raises(ConfigurationError, match=r"Write `await call\(\.\.\.\)`"):
        call_sync(app, on_element, "a")
    assert (await call(app, on_element, "a")).succeeded


async def test_a_test_that_is_cancelled() -> None:
    """A call ends with the test that waits for it."""
    slow, ended = App(), asyncio.Event()

    @slow.list_trigger(keys="q")
    async def waits(_: str) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(call(slow, waits, "a"), 0.05)
    assert ended.is_set()
