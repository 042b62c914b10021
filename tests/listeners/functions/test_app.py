"""Apps: what the decorators register and what they reject."""

import functools
from collections.abc import Callable
from typing import Annotated, Any

import pytest

from listeners.errors import BindingError, ConfigurationError
from listeners.functions.triggers import DEFAULT_CONSUMER_GROUP, ListTrigger, PubSubTrigger, StreamTrigger, Trigger
from triggerfish import App, FromField, RedisMessage


def handle(message: RedisMessage) -> None: ...


async def handle_all(messages: list[RedisMessage]) -> None: ...


DECORATORS: list[tuple[Callable[[App], Any], Trigger]] = [
    (lambda app: app.list_trigger(keys="a b"), ListTrigger(keys=("a", "b"))),
    (lambda app: app.stream_trigger(keys=["a", "b c"]), StreamTrigger(keys=("a", "b c"))),
    (lambda app: app.pubsub_trigger(channel="c"), PubSubTrigger(channel="c")),
    (
        lambda app: app.list_trigger(
            keys="a",
            connection="cache",
            polling_interval_ms=1,
            messages_per_worker=2,
            batch_size=3,
            concurrency=7,
            list_pop_from_beginning=False,
            delivery="at-most-once",
            max_deliveries=4,
            call_timeout_seconds=5,
        ),
        ListTrigger(
            keys=("a",),
            connection="cache",
            polling_interval_ms=1,
            messages_per_worker=2,
            batch_size=3,
            concurrency=7,
            list_pop_from_beginning=False,
            delivery="at-most-once",
            max_deliveries=4,
            call_timeout_seconds=5,
        ),
    ),
    (
        lambda app: app.stream_trigger(
            keys="a",
            connection="cache",
            polling_interval_ms=1,
            messages_per_worker=2,
            batch_size=3,
            concurrency=7,
            consumer_group="g",
            delete_after_process=True,
            max_deliveries=4,
            call_timeout_seconds=5,
        ),
        StreamTrigger(
            keys=("a",),
            connection="cache",
            polling_interval_ms=1,
            messages_per_worker=2,
            batch_size=3,
            concurrency=7,
            consumer_group="g",
            delete_after_process=True,
            max_deliveries=4,
            call_timeout_seconds=5,
        ),
    ),
    (
        lambda app: app.pubsub_trigger(
            channel="c*", connection="cache", pattern=False, singleton=False, concurrency=3, call_timeout_seconds=5
        ),
        PubSubTrigger(
            channel="c*", connection="cache", pattern=False, singleton=False, concurrency=3, call_timeout_seconds=5
        ),
    ),
]


@pytest.mark.parametrize(("decorator", "trigger"), DECORATORS)
def test_decorators(decorator: Callable[[App], Any], trigger: Trigger) -> None:
    """A decorator returns the function itself and registers it with the trigger that its arguments declare."""
    app = App()
    assert decorator(app)(handle) is handle
    assert app.functions["handle"].handler is handle
    assert app.functions["handle"].trigger == trigger


def test_a_connection_string() -> None:
    """A decorator accepts a connection string, and the repr of the function does not reveal it."""
    app = App()
    app.list_trigger(keys="q", connection_string="h:1,password=hunter2")(handle)
    app.stream_trigger(keys="q", connection_string="h:1,password=hunter2")(handle_all)
    strings = [function.trigger.connection_string for function in app.functions.values()]
    assert [string and string.get_secret_value() for string in strings] == ["h:1,password=hunter2"] * 2
    assert "hunter2" not in repr(app.functions)


def test_the_default_group_is_that_of_azure_functions() -> None:
    """Functions without a consumer group use the one of Azure Functions."""
    app = App()
    app.stream_trigger(keys="s")(handle)
    trigger = app.functions["handle"].trigger
    assert isinstance(trigger, StreamTrigger)
    assert trigger.consumer_group == DEFAULT_CONSUMER_GROUP == "AzureFunctionRedisExtension"


@pytest.mark.parametrize(
    ("decorator", "field"),
    [
        (lambda app: app.list_trigger(keys=""), "keys"),
        (lambda app: app.list_trigger(keys=None), "keys"),
        (lambda app: app.list_trigger(keys="q", batch_size=0), "batch_size"),
        (lambda app: app.list_trigger(keys="q", delivery="once"), "delivery"),
        (lambda app: app.list_trigger(keys="q", connection=""), "connection"),
        (lambda app: app.stream_trigger(keys="s", consumer_group=" "), "consumer_group"),
        (lambda app: app.stream_trigger(keys="s", polling_interval_ms=-1), "polling_interval_ms"),
        (lambda app: app.stream_trigger(keys="s", messages_per_worker=1.5), "messages_per_worker"),
        (lambda app: app.pubsub_trigger(channel=""), "channel"),
        (lambda app: app.pubsub_trigger(channel="c", connection="a", connection_string="b"), "connection"),
    ],
)
def test_bad_arguments(decorator: Callable[[App], Any], field: str) -> None:
    """The decorator rejects an invalid argument before it is applied to a function, and the error names the field."""
    app = App()
    with pytest.raises(ConfigurationError) as caught:
        decorator(app)
    assert caught.value.field == field
    assert caught.value.fix
    assert not app.functions


def test_two_functions_with_the_same_name() -> None:
    """A second function with the same name is rejected and does not replace the first."""
    app = App()
    app.list_trigger(keys="a")(handle)
    with pytest.raises(BindingError, match=r"^invalid function 'handle': Another function in this app has this name\."):
        app.add(lambda message: None, ListTrigger(keys=("b",)), "handle")
    assert [function.trigger.reads for function in app.functions.values()] == ["list a"]


def test_names_can_be_given() -> None:
    """One function can serve two triggers under different names."""
    app = App()
    app.add(handle, ListTrigger(keys=("a",)), "first")
    app.add(handle, ListTrigger(keys=("b",)), "second")
    assert {name: function.name for name, function in app.functions.items()} == {"first": "first", "second": "second"}


def test_a_partial_has_the_name_of_its_function() -> None:
    """A functools.partial is registered under the name of its function."""
    app = App()
    app.list_trigger(keys="a")(functools.partial(handle))
    assert list(app.functions) == ["handle"]


def test_a_function_that_cannot_be_bound() -> None:
    """A function that cannot be called with a message is rejected and not registered."""
    app = App()
    with pytest.raises(BindingError):
        app.list_trigger(keys="q")(lambda: None)
    assert not app.functions


@pytest.mark.parametrize(
    "trigger", [ListTrigger(keys=("q",), max_deliveries=1), StreamTrigger(keys=("q",), max_deliveries=1)]
)
def test_a_batch_needs_a_second_delivery(trigger: Trigger) -> None:
    """A batch function needs two deliveries: only the second one shows which entry of the batch fails."""
    with pytest.raises(BindingError, match=r"^invalid max_deliveries 1: .* Give 2 or more\.$"):
        App().add(handle_all, trigger)


@pytest.mark.parametrize(
    ("function", "trigger"),
    [
        (handle, ListTrigger(keys=("q",), max_deliveries=1)),
        (handle_all, ListTrigger(keys=("q",), max_deliveries=2)),
        (handle_all, ListTrigger(keys=("q",), max_deliveries=1, delivery="at-most-once")),
        (handle_all, PubSubTrigger(channel="c")),
    ],
)
def test_where_one_delivery_is_enough(function: Callable[..., Any], trigger: Trigger) -> None:
    """One delivery is enough for a function of single entries, and where nothing is redelivered."""
    app = App()
    app.add(function, trigger)
    assert list(app.functions) == [function.__name__]


@pytest.mark.parametrize("cls", [ListTrigger, StreamTrigger])
def test_batches_in_progress_are_bounded(cls: type[ListTrigger | StreamTrigger]) -> None:
    """With a concurrency, a function that takes a list has at most 10,000 entries in progress."""
    App().add(handle_all, cls(keys=("q",), batch_size=1000, concurrency=10))
    App().add(handle, cls(keys=("q",), batch_size=1000, concurrency=11))
    App().add(handle_all, PubSubTrigger(channel="c", concurrency=10_000))
    with pytest.raises(BindingError, match=r"^invalid concurrency 11: handle_all takes a list, .* Lower one of them"):
        App().add(handle_all, cls(keys=("q",), batch_size=1000, concurrency=11))


@pytest.mark.parametrize("cls", [ListTrigger, StreamTrigger])
def test_a_window_for_single_entries(cls: type[ListTrigger | StreamTrigger]) -> None:
    """A window is an error for a function that takes one entry, which would never wait."""
    app = App()
    (app.list_trigger if cls is ListTrigger else app.stream_trigger)(keys="q", batch_window_ms=5)(handle_all)
    assert app.functions["handle_all"].trigger == cls(keys=("q",), batch_window_ms=5)
    App().add(handle, cls(keys=("q",), batch_window_ms=0))
    with pytest.raises(BindingError, match=r"^invalid batch_window_ms 5: handle takes one entry per call\. .*list\["):
        App().add(handle, cls(keys=("q",), batch_window_ms=5))


def test_a_field_of_what_has_no_fields() -> None:
    """FromField is rejected for a list or a channel, whose entries have no fields."""

    def handle(order: Annotated[str, FromField("data")]) -> None: ...

    App().stream_trigger(keys="s")(handle)
    for decorator in (App().list_trigger(keys="q"), App().pubsub_trigger(channel="c")):
        with pytest.raises(BindingError, match=r"FromField 'data': handle takes a field .* Remove FromField"):
            decorator(handle)
