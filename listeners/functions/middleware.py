"""Middleware: functions of the app around each call of its functions."""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from listeners.errors import ConfigurationError, MiddlewareError
from listeners.functions.binding import function_name, is_async
from listeners.functions.context import Context
from listeners.functions.entries import Entry, RedisMessage

__all__ = ["Call", "CallNext", "Middleware", "checked_middleware", "run_within"]

#: Runs the rest of a call: the other middleware, and the function. Raises what they raise.
CallNext = Callable[[], Awaitable[None]]


class Call:
    """One call of a function, as middleware receives it. `context` is what the function gets if it takes a Context."""

    __slots__ = ("_entries", "_messages", "context")

    def __init__(self, context: Context[Any], entries: Sequence[Entry]) -> None:
        self.context = context
        self._entries = entries
        self._messages: tuple[RedisMessage, ...] | None = None

    @property
    def function(self) -> str:
        """Name of the function."""
        return self.context.function

    @property
    def messages(self) -> tuple[RedisMessage, ...]:
        """The entries of the call: one, or those of a batch. They are made on first use."""
        if self._messages is None:
            self._messages = tuple([entry.message() for entry in self._entries])
        return self._messages


Middleware = Callable[[Call, CallNext], Awaitable[None]]


def checked_middleware(function: Middleware) -> Middleware:
    """Return a function that can be called as middleware. Raises ConfigurationError for any other."""
    form = "Write `async def NAME(call: Call, call_next: CallNext) -> None`, with `await call_next()` in it."
    if not callable(function):
        raise ConfigurationError("middleware", function, f"It is not a function. {form}")
    name = function_name(function)
    if not is_async(function):
        raise ConfigurationError("middleware", name, f"It is not async. {form}")
    try:
        parameters = inspect.signature(function)
        parameters.bind(None, None)
        if next(iter(parameters.parameters)) == "call_next":
            raise ConfigurationError("middleware", name, f"call_next is its second parameter. {form}")
    except TypeError:
        raise ConfigurationError("middleware", name, f"It does not take a call and call_next. {form}") from None
    return function


async def run_within(middleware: Sequence[Middleware], call: Call, run: CallNext) -> None:
    """Run something within middleware, of which the first is the outermost.

    Raises what it raises, and MiddlewareError for one that does not await call_next() exactly once.
    """
    for one in reversed(middleware):
        run = _within(one, call, run)
    await run()


def _within(middleware: Middleware, call: Call, inner: CallNext) -> CallNext:
    async def run() -> None:
        began = ended = False

        async def call_next(*given: object) -> None:
            nonlocal began, ended
            if given:
                raise MiddlewareError(
                    f"{function_name(middleware)} gave call_next() an argument: write `await call_next()`"
                )
            if began:
                fix = "raise Retry to have the entry delivered again"
                raise MiddlewareError(f"{function_name(middleware)} called call_next() twice: {fix}")
            began = True
            try:
                await inner()
            finally:
                ended = True

        await middleware(call, call_next)
        if not ended:
            fix = "`await call_next()`, or raise Reject or Retry"
            raise MiddlewareError(f"{function_name(middleware)} returned without awaiting call_next(): {fix}")

    return run
