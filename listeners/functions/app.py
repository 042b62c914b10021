"""An app: functions and the triggers that call them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from listeners.errors import BindingError
from listeners.functions.binding import Binding, bind, function_name
from listeners.functions.triggers import (
    DEFAULT_BATCH_SIZE,
    DEFAULT_CALL_TIMEOUT_SECONDS,
    DEFAULT_CONSUMER_GROUP,
    DEFAULT_MAX_DELIVERIES,
    DEFAULT_MESSAGES_PER_WORKER,
    DEFAULT_POLLING_INTERVAL_MS,
    ListTrigger,
    PolledTrigger,
    PubSubTrigger,
    StreamTrigger,
    Trigger,
    parse_trigger,
)

__all__ = ["App", "Function"]

Handler = TypeVar("Handler", bound=Callable[..., Any])


@dataclass(frozen=True)
class Function:
    """A user's handler, its trigger, and how it is called."""

    name: str
    handler: Callable[..., Any]
    trigger: Trigger
    binding: Binding


class App:
    """Functions and their triggers. `name` appears in metrics, client names and leases.

    Every instance of one app must use the same name, and two different apps on one Redis different names; it is
    taken from the file's name if it is not given.
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = name
        self.functions: dict[str, Function] = {}

    def list_trigger(
        self,
        *,
        keys: str | Sequence[str],
        connection: str | None = None,
        connection_string: str | None = None,
        polling_interval_ms: int = DEFAULT_POLLING_INTERVAL_MS,
        messages_per_worker: int = DEFAULT_MESSAGES_PER_WORKER,
        batch_size: int = DEFAULT_BATCH_SIZE,
        list_pop_from_beginning: bool = True,
        delivery: str = "at-least-once",
        max_deliveries: int = DEFAULT_MAX_DELIVERIES,
        call_timeout_seconds: float = DEFAULT_CALL_TIMEOUT_SECONDS,
    ) -> Callable[[Handler], Handler]:
        """Call the function for elements of Redis lists.

        `keys`: one or more keys, as text with spaces between, or as a list. `polling_interval_ms`: the longest that
        an idle listener waits. `messages_per_worker`: waiting elements that one instance should get. `batch_size`:
        elements taken at one time, and at most in hand. `list_pop_from_beginning`: from the beginning or the end.
        `delivery`: "at-least-once" or "at-most-once". `max_deliveries`: tries in all before the dead letter.
        `call_timeout_seconds`: a call that takes longer counts as failed. An `async def` function is cancelled then; a
        `def` function cannot be stopped and goes on beside the next try.
        Raises ConfigurationError that names the field, the value and the fix.
        """
        return self._register(ListTrigger, _given(locals()))

    def stream_trigger(
        self,
        *,
        keys: str | Sequence[str],
        connection: str | None = None,
        connection_string: str | None = None,
        polling_interval_ms: int = DEFAULT_POLLING_INTERVAL_MS,
        messages_per_worker: int = DEFAULT_MESSAGES_PER_WORKER,
        batch_size: int = DEFAULT_BATCH_SIZE,
        consumer_group: str = DEFAULT_CONSUMER_GROUP,
        delete_after_process: bool = False,
        max_deliveries: int = DEFAULT_MAX_DELIVERIES,
        call_timeout_seconds: float = DEFAULT_CALL_TIMEOUT_SECONDS,
    ) -> Callable[[Handler], Handler]:
        """Call the function for entries of Redis streams, as a member of a consumer group.

        `consumer_group`: functions with different groups all see every entry; with the same group they share.
        `delete_after_process`: delete an entry once it was handled. The rest is as for `list_trigger`.
        Raises ConfigurationError that names the field, the value and the fix.
        """
        return self._register(StreamTrigger, _given(locals()))

    def pubsub_trigger(
        self,
        *,
        channel: str,
        connection: str | None = None,
        connection_string: str | None = None,
        pattern: bool | None = None,
        singleton: bool = True,
        call_timeout_seconds: float = DEFAULT_CALL_TIMEOUT_SECONDS,
    ) -> Callable[[Handler], Handler]:
        """Call the function for messages on a pub/sub channel, keyspace and keyevent notifications included.

        `channel`: a name, or a pattern as PSUBSCRIBE has it; `pattern` forces one or the other. `singleton`: only
        one instance subscribes, the others stand by. `call_timeout_seconds` is as for `list_trigger`.
        Raises ConfigurationError that names the field, the value and the fix.
        """
        return self._register(PubSubTrigger, _given(locals()))

    def add(self, handler: Callable[..., Any], trigger: Trigger, name: str | None = None) -> None:
        """Register a function for a trigger, as the decorators do.

        Raises BindingError if the function cannot be called with what the trigger delivers, or its name is taken.
        """
        name = name or function_name(handler)
        if name in self.functions:
            raise BindingError("function", name, "Two functions of one app need different names.")
        binding = bind(handler)
        at_most_once = isinstance(trigger, ListTrigger) and trigger.delivery == "at-most-once"
        if binding.batch and isinstance(trigger, PolledTrigger) and trigger.max_deliveries == 1 and not at_most_once:
            raise BindingError(
                "max_deliveries",
                1,
                f"{name} takes a list: a batch that fails is delivered again one by one. Give 2 or more.",
            )
        self.functions[name] = Function(name, handler, trigger, binding)

    def _register(self, cls: type[Trigger], values: Mapping[str, Any]) -> Callable[[Handler], Handler]:
        trigger = parse_trigger(cls, values)

        def decorate(function: Handler) -> Handler:
            self.add(function, trigger)
            return function

        return decorate


def _given(arguments: dict[str, Any]) -> dict[str, Any]:
    """A decorator's arguments without `self` and those left out."""
    return {name: value for name, value in arguments.items() if name != "self" and value is not None}
