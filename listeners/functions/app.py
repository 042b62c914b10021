"""Apps: functions and their triggers, registered by decorators."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, cast

from listeners.errors import BindingError, ConfigurationError
from listeners.functions.binding import Binding, bind, check_trigger, function_name
from listeners.functions.declarations import parse_trigger
from listeners.functions.lifespan import DeclaredLifespan, LifespanFunction, checked_lifespan
from listeners.functions.middleware import Middleware, checked_middleware
from listeners.functions.triggers import (
    DEFAULT_BATCH_SIZE,
    DEFAULT_CALL_TIMEOUT_SECONDS,
    DEFAULT_CONCURRENCY,
    DEFAULT_CONSUMER_GROUP,
    DEFAULT_MAX_DELIVERIES,
    DEFAULT_MESSAGES_PER_WORKER,
    DEFAULT_POLLING_INTERVAL_MS,
    ListTrigger,
    PubSubTrigger,
    StreamTrigger,
    Trigger,
)

__all__ = ["App", "Function"]

Handler = TypeVar("Handler", bound=Callable[..., Any])
AnyLifespan = TypeVar("AnyLifespan", bound=DeclaredLifespan)
AnyMiddleware = TypeVar("AnyMiddleware", bound=Middleware)
Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")
#: The name of an app that neither its code nor the file that it is loaded from has named.
DEFAULT_NAME = "app"


@dataclass(frozen=True)
class Function:
    """A user's handler, its trigger, and how to call it."""

    name: str
    handler: Callable[..., Any]
    trigger: Trigger
    binding: Binding


def _declares(cls: type[Trigger]) -> Callable[[Callable[Parameters, Returned]], Callable[Parameters, Returned]]:
    """Make a method, which has the signature and the documentation, a decorator for a type of trigger.

    It takes each parameter in all of Azure Functions' spellings, and explains mistakes that Python calls a TypeError.
    """

    def declare(documented: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
        name = documented.__name__
        first = next(field for field, info in cls.model_fields.items() if info.is_required())

        @functools.wraps(documented)
        def decorator(app: object = None, /, *unnamed: object, **given: object) -> object:
            if not isinstance(app, App):
                fix = f"It is called on the class. Make an app, app = App(), and write @app.{name}({first}=...)."
                raise ConfigurationError(name, None, fix)
            if unnamed and callable(unnamed[0]):
                fix = f"It needs parameters: @app.{name}({first}=...)."
                raise ConfigurationError(name, function_name(unnamed[0]), fix)
            if unnamed:
                raise ConfigurationError(name, None, f"Name each parameter: @app.{name}({first}=...).")
            return app._register(cls, {spelling: value for spelling, value in given.items() if value is not None})

        return cast("Callable[Parameters, Returned]", decorator)

    return declare


class App:
    """A set of functions and their triggers.

    Args:
        name: The app's name in metrics, Redis client names and leases. All instances of an app must use the same name,
            and different apps on one Redis different names. Default: the name of the file or module that the app is
            loaded from, or `app` if a Host is created without loading one.
    """

    def __init__(self, name: str | None = None) -> None:
        self._name = name
        self.functions: dict[str, Function] = {}
        #: The outermost first.
        self.middlewares: list[Middleware] = []
        self.lifespan_function: LifespanFunction | None = None

    @property
    def name(self) -> str:
        """The app's name, or its default."""
        return self._name or DEFAULT_NAME

    def set_default_name(self, name: str) -> None:
        """Name an app that has no name yet, after the file or module that it is loaded from."""
        self._name = self._name or name

    @_declares(ListTrigger)
    def list_trigger(
        self,
        *,
        keys: str | Sequence[str],
        name: str | None = None,
        connection: str | None = None,
        connection_string: str | None = None,
        polling_interval_ms: int = DEFAULT_POLLING_INTERVAL_MS,
        messages_per_worker: int = DEFAULT_MESSAGES_PER_WORKER,
        batch_size: int = DEFAULT_BATCH_SIZE,
        concurrency: int | None = None,
        batch_window_ms: int = 0,
        list_pop_from_beginning: bool = True,
        delivery: str = "at-least-once",
        max_deliveries: int = DEFAULT_MAX_DELIVERIES,
        call_timeout_seconds: float = DEFAULT_CALL_TIMEOUT_SECONDS,
    ) -> Callable[[Handler], Handler]:
        """Call the decorated function for elements of Redis lists.

        Args:
            keys: Keys of the lists (at most 100), separated by spaces or as a sequence. With at-most-once delivery,
                only the first is read before Redis 7.0.
            name: Name of the function in this app. Default: its own, for one of the triggers of a function.
            connection: Name of a connection defined in the settings. Default: the default connection there.
            connection_string: Address of Redis, as `host:port,option=value` or a URL. Excludes `connection`.
            polling_interval_ms: Longest pause between two polls, in milliseconds (1 to 3,600,000), where Redis does
                not report changes of keys (before Redis 6.0).
            messages_per_worker: Backlog per instance, in elements (1 or more). The scaler's target is the backlog
                divided by this number, rounded up.
            batch_size: Maximum number of elements taken at once (1 to 10,000). A function that takes a list gets up to
                this many per call.
            concurrency: Maximum number of concurrent calls in one instance (1 to 10,000), a `def` function at most 32.
                No more elements are taken than calls may run. With 1, the calls follow one after the other. Default:
                `batch_size`, and one batch for a function that takes a list.
            batch_window_ms: How long a function that takes a list waits for a full batch, from the first element on, in
                milliseconds (0 to 300,000). Elements that wait are leased.
            list_pop_from_beginning: Whether elements are taken from the beginning of the list or from its end.
            delivery: `"at-least-once"` leases elements until they are settled and retries failed calls.
                `"at-most-once"` pops them (LPOP, RPOP or LMPOP) and dead-letters them when a call fails.
            max_deliveries: Number of deliveries before an element is dead-lettered (1 or more; with at-least-once
                delivery, 2 or more for a function that takes a list).
            call_timeout_seconds: Time limit of one call, in seconds (0.1 to 86,400; default: 30 minutes). A call that
                exceeds it counts as failed. An `async def` function is cancelled and has 2 s to clean up. A `def`
                function cannot be stopped and keeps running alongside the retry.

        Raises:
            ConfigurationError: An argument is invalid. The message names the field, the value and the fix.
            BindingError: Raised when the decorator is applied. The function cannot be called with what the trigger
                delivers, or its name is already in use in this app.
        """
        raise NotImplementedError  # _declares replaces it

    @_declares(StreamTrigger)
    def stream_trigger(
        self,
        *,
        keys: str | Sequence[str],
        name: str | None = None,
        connection: str | None = None,
        connection_string: str | None = None,
        polling_interval_ms: int = DEFAULT_POLLING_INTERVAL_MS,
        messages_per_worker: int = DEFAULT_MESSAGES_PER_WORKER,
        batch_size: int = DEFAULT_BATCH_SIZE,
        concurrency: int | None = None,
        batch_window_ms: int = 0,
        consumer_group: str = DEFAULT_CONSUMER_GROUP,
        delete_after_process: bool = False,
        max_deliveries: int = DEFAULT_MAX_DELIVERIES,
        call_timeout_seconds: float = DEFAULT_CALL_TIMEOUT_SECONDS,
    ) -> Callable[[Handler], Handler]:
        """Call the decorated function for entries of Redis streams, as a consumer in a consumer group.

        Delivery is at least once: an entry stays pending until it is acknowledged or dead-lettered.

        Args:
            keys: Keys of the streams (at most 100), separated by spaces or as a sequence.
            name: Name of the function in this app. Default: its own, for one of the triggers of a function.
            connection: Name of a connection defined in the settings. Default: the default connection there.
            connection_string: Address of Redis, as `host:port,option=value` or a URL. Excludes `connection`.
            polling_interval_ms: Longest pause between two polls, in milliseconds (1 to 3,600,000), where Redis does
                not report changes of keys (before Redis 6.0).
            messages_per_worker: Backlog per instance, in entries (1 or more). The scaler's target is the backlog
                divided by this number, rounded up.
            batch_size: Maximum number of entries taken at once (1 to 10,000). A function that takes a list gets up to
                this many per call.
            concurrency: Maximum number of concurrent calls in one instance (1 to 10,000), a `def` function at most 32.
                No more entries are taken than calls may run. With 1, the calls follow one after the other. Default:
                `batch_size`, and one batch for a function that takes a list.
            batch_window_ms: How long a function that takes a list waits for a full batch, from the first entry on, in
                milliseconds (0 to 300,000). Entries that wait are pending.
            consumer_group: Name of the consumer group, which is created if it does not exist. Functions with different
                groups each receive every entry; functions with the same group share the entries. Default: the group
                of Azure Functions.
            delete_after_process: Whether an entry is deleted from the stream (XDEL) when it is acknowledged, after a
                successful call or as a dead letter.
            max_deliveries: Number of deliveries before an entry is dead-lettered (1 or more; 2 or more for a function
                that takes a list).
            call_timeout_seconds: Time limit of one call, in seconds (0.1 to 86,400; default: 30 minutes). A call that
                exceeds it counts as failed. An `async def` function is cancelled and has 2 s to clean up. A `def`
                function cannot be stopped and keeps running alongside the retry.

        Raises:
            ConfigurationError: An argument is invalid. The message names the field, the value and the fix.
            BindingError: Raised when the decorator is applied. The function cannot be called with what the trigger
                delivers, or its name is already in use in this app.
        """
        raise NotImplementedError  # _declares replaces it

    @_declares(PubSubTrigger)
    def pubsub_trigger(
        self,
        *,
        channel: str,
        name: str | None = None,
        connection: str | None = None,
        connection_string: str | None = None,
        pattern: bool | None = None,
        singleton: bool = True,
        concurrency: int = DEFAULT_CONCURRENCY,
        call_timeout_seconds: float = DEFAULT_CALL_TIMEOUT_SECONDS,
    ) -> Callable[[Handler], Handler]:
        """Call the decorated function for messages on a pub/sub channel, including keyspace and keyevent notifications.

        Messages are never delivered again: a message whose call fails is dropped.

        Args:
            channel: Name of the channel, or a glob pattern as in PSUBSCRIBE.
            name: Name of the function in this app. Default: its own, for one of the triggers of a function.
            connection: Name of a connection defined in the settings. Default: the default connection there.
            connection_string: Address of Redis, as `host:port,option=value` or a URL. Excludes `connection`.
            pattern: Whether `channel` is a pattern. Default: it is if it contains an unescaped `*`, `?` or `[`.
            singleton: Whether only one instance subscribes, the one that holds a lease, while the others stand by. If
                False, every instance receives every message.
            concurrency: Maximum number of concurrent calls in one instance (1 to 10,000), a `def` function at most 32.
                With 1, messages are handled one after the other, in the order of arrival. A function that takes a list
                gets up to 100 messages per call.
            call_timeout_seconds: Time limit of one call, in seconds (0.1 to 86,400; default: 30 minutes). A call that
                exceeds it counts as failed. An `async def` function is cancelled and has 2 s to clean up. A `def`
                function cannot be stopped and keeps running.

        Raises:
            ConfigurationError: An argument is invalid. The message names the field, the value and the fix.
            BindingError: Raised when the decorator is applied. The function cannot be called with what the trigger
                delivers, or its name is already in use in this app.
        """
        raise NotImplementedError  # _declares replaces it

    def lifespan(self, function: AnyLifespan) -> AnyLifespan:
        """Run the decorated async generator function around all calls of a process.

        It runs to its `yield` before the first entry is taken, and continues after the last call. What it yields is
        `context.state` (see Context). If it raises before, the process ends with exit status 3.

        Raises:
            ConfigurationError: It is not an async generator function without parameters, or the app has a lifespan.
        """
        checked = checked_lifespan(function)
        if self.lifespan_function is not None:
            fix = f"The app has a lifespan, {function_name(self.lifespan_function)}. Make them one function."
            raise ConfigurationError("lifespan", function_name(function), fix)
        self.lifespan_function = checked
        return function

    def middleware(self, function: AnyMiddleware) -> AnyMiddleware:
        """Run the decorated async function around each call of each function of the app.

        It takes a Call, and a function `call_next`, which it awaits once. What it raises counts as raised by the
        function. The first middleware of an app is the outermost.

        Raises:
            ConfigurationError: It is not an async function with two parameters.
        """
        self.middlewares.append(checked_middleware(function))
        return function

    def add(self, handler: Callable[..., Any], trigger: Trigger, name: str | None = None) -> None:
        """Register a function for a trigger, as the decorators do.

        Args:
            handler: The function to call.
            trigger: The trigger that calls it.
            name: Name of the function in this app. Default: the handler's own name.

        Raises:
            BindingError: The function cannot be called with what the trigger delivers, or the name is already in use.
        """
        if not callable(handler):
            raise BindingError("function", handler, "It is not a function. Write the decorator above a `def`.")
        if name is not None and (not isinstance(name, str) or not name.strip()):
            raise BindingError("name", name, 'Give text, such as name="orders", or leave it out.')
        name = name or function_name(handler)
        if name in self.functions:
            fix = "Another function in this app has this name. Rename one of them."
            if self.functions[name].handler is handler:
                fix = f'It has a trigger already. Give one of them a name, such as name="{name}_{trigger.kind}".'
            raise BindingError("function", name, fix)
        binding = bind(handler)
        check_trigger(name, binding, trigger)
        self.functions[name] = Function(name, handler, trigger, binding)

    def _register(self, cls: type[Trigger], values: Mapping[str, Any]) -> Callable[[Handler], Handler]:
        parameters = {spelling: value for spelling, value in values.items() if spelling != "name"}
        trigger = parse_trigger(cls, parameters, siblings=["name"])

        def decorate(function: Handler) -> Handler:
            self.add(function, trigger, values.get("name"))
            return function

        return decorate
