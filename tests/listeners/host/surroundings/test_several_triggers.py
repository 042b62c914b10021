"""Several triggers of one function: each has a name, under which the function is known everywhere."""

from typing import Annotated, Any

import pytest
import redis.asyncio

from listeners.errors import BindingError, ConfigurationError
from tests.support.running_host import RunHost
from tests.support.waiting import eventually
from triggerfish import App, Context, FromField, RedisMessage


@pytest.mark.releases("redis-6.2", "valkey-9.1")
async def test_each_trigger_calls_the_function(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """The function is called by each of its triggers, and its context has the trigger's name."""
    app = App("shop")
    called: list[tuple[str, str]] = []

    @app.list_trigger(keys="orders")
    @app.stream_trigger(keys="imports", name="imported")
    @app.pubsub_trigger(channel="urgent", name="urgent")
    async def handle(message: RedisMessage, context: Context) -> None:
        called.append((context.function, message.trigger))

    assert list(app.functions) == ["urgent", "imported", "handle"]
    async with run_host(app):
        await client.rpush("orders", "a")
        await client.xadd("imports", {"order": "b"})
        await eventually(lambda: client.publish("urgent", "c"))
        await eventually(lambda: len(called) == 3)
    assert sorted(called) == [("handle", "orders"), ("imported", "imports"), ("urgent", "urgent")]


def test_names() -> None:
    """Any of the triggers may go without a name, and the same decorator may be there twice."""
    app = App()

    @app.list_trigger(keys="a", name="first")
    @app.list_trigger(keys="b", name="second")
    @app.list_trigger(keys="c")
    def handle(message: str) -> None: ...

    assert {name: function.trigger.reads for name, function in app.functions.items()} == {
        "handle": "list c",
        "second": "list b",
        "first": "list a",
    }


@pytest.mark.parametrize("name", ["", " ", 5, b"orders"])
def test_invalid_names(name: Any) -> None:
    """A name is text."""
    with pytest.raises(BindingError, match=r"^invalid name .*: Give text, such as name=\"orders\", or leave it out\.$"):
        App().list_trigger(keys="q", name=name)(lambda message: None)


def test_a_name_that_is_taken() -> None:
    """Two functions cannot share a name: leases, dead letters and metrics have it."""
    app = App()
    app.list_trigger(keys="a", name="orders")(lambda message: None)
    with pytest.raises(BindingError, match="Another function in this app has this name"):
        app.stream_trigger(keys="b", name="orders")(lambda message: None)


def test_a_parameter_that_does_not_fit_one_of_the_triggers() -> None:
    """What only one of the triggers can deliver is an error that names the other, with its function's name."""
    app = App()

    def handle(number: Annotated[int, FromField("number")]) -> None: ...

    app.stream_trigger(keys="payments")(handle)
    with pytest.raises(BindingError, match="from_list takes a field of a stream entry, and a RedisListTrigger has no"):
        app.list_trigger(keys="orders", name="from_list")(handle)
    assert list(app.functions) == ["handle"]


def test_a_misspelt_name() -> None:
    """The parameters that are suggested for an unknown one include the name."""
    with pytest.raises(ConfigurationError, match=r"nam: .*Did you mean name\?"):
        App().list_trigger(keys="q", nam="orders")  # type: ignore[call-arg]
