"""Lifespans: what an app opens before its functions are called, and closes after the last call."""

import contextlib
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

from listeners.errors import ConfigurationError
from listeners.functions.binding import function_name

__all__ = ["DeclaredLifespan", "LifespanFunction", "checked_lifespan"]

#: An async generator function without parameters.
LifespanFunction = Callable[[], AsyncGenerator[Any, None]]
#: What the decorator takes.
DeclaredLifespan = Callable[[], AsyncIterator[Any]] | Callable[[], AbstractAsyncContextManager[Any]]

FORM = "Write `async def NAME() -> AsyncIterator[State]`, with one `yield` in it."


def checked_lifespan(function: DeclaredLifespan) -> LifespanFunction:
    """Return the async generator function that was declared. Raises ConfigurationError for anything else."""
    if not callable(function):
        raise ConfigurationError("lifespan", function, f"It is not a function. {FORM}")
    name = function_name(function)
    generator_function: Any = function
    if getattr(function, "__globals__", None) is vars(contextlib):  # decorated with @asynccontextmanager
        generator_function = getattr(function, "__wrapped__", function)
    if inspect.iscoroutinefunction(generator_function):
        raise ConfigurationError("lifespan", name, f"It never yields. {FORM}")
    if not inspect.isasyncgenfunction(generator_function):
        raise ConfigurationError("lifespan", name, f"It is not an async generator function. {FORM}")
    try:
        inspect.signature(generator_function).bind()
    except TypeError:
        raise ConfigurationError("lifespan", name, f"It takes parameters. {FORM}") from None
    return cast("LifespanFunction", generator_function)
