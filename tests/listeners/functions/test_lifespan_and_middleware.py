"""Which functions can be an app's lifespan or its middleware."""

import contextlib
import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from listeners.errors import ConfigurationError
from triggerfish import App, Call, CallNext


async def lifespan() -> AsyncIterator[int]:
    yield 1


@contextlib.asynccontextmanager
async def managed() -> AsyncIterator[int]:
    yield 2


async def with_default(number: int = 3) -> AsyncIterator[int]:
    yield number


async def with_parameter(number: int) -> AsyncIterator[int]:
    yield number


class Owner:
    async def method(self) -> AsyncIterator[int]:
        yield 5


@pytest.mark.parametrize(
    ("function", "state"),
    [
        (lifespan, 1),
        (managed, 2),
        (with_default, 3),
        (functools.partial(with_parameter, 4), 4),
        (Owner().method, 5),
    ],
)
async def test_lifespans(function: Any, state: int) -> None:
    """An async generator function is a lifespan, also in @asynccontextmanager. The decorator returns what it gets."""
    app = App()
    assert app.lifespan(function) is function
    assert app.lifespan_function is not None
    assert await anext(app.lifespan_function()) == state


async def no_yield() -> None: ...


def generator() -> Iterator[int]:
    yield 1


@contextlib.contextmanager
def managed_plainly() -> Iterator[int]:
    yield 1


@contextlib.asynccontextmanager
async def managed_with_parameter(app: App) -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (no_yield, "'no_yield': It never yields."),
        (generator, "'generator': It is not an async generator function."),
        (managed_plainly, "'managed_plainly': It is not an async generator function."),
        (with_parameter, "'with_parameter': It takes parameters."),
        (managed_with_parameter, "'managed_with_parameter': It takes parameters."),
        (5, "5: It is not a function."),
    ],
)
def test_what_is_no_lifespan(function: Any, problem: str) -> None:
    """The error names the function and says what to write."""
    app = App()
    with pytest.raises(ConfigurationError) as caught:
        app.lifespan(function)
    assert problem in str(caught.value)
    assert "Write `async def NAME() -> AsyncIterator[State]`" in str(caught.value)


def test_a_second_lifespan() -> None:
    """An app has one lifespan; the error names both functions."""
    app = App()
    app.lifespan(lifespan)
    with pytest.raises(ConfigurationError, match="invalid lifespan 'managed': The app has a lifespan, lifespan"):
        app.lifespan(managed)


async def middleware(call: Call, call_next: CallNext) -> None:
    await call_next()


async def with_more(prefix: str, call: Call, call_next: CallNext) -> None:
    await call_next()


class Counting:
    async def __call__(self, call: Call, call_next: CallNext) -> None:
        await call_next()


@pytest.mark.parametrize("function", [middleware, functools.partial(with_more, "a"), Counting()])
def test_middleware(function: Any) -> None:
    """An async function or object with two parameters is middleware. The decorator returns what it gets."""
    app = App()
    assert app.middleware(function) is function
    assert app.middlewares == [function]


def plain(call: Call, call_next: CallNext) -> None: ...


async def one_parameter(call: Call) -> None: ...


async def yielding(call: Call, call_next: CallNext) -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (plain, "'plain': It is not async."),
        (one_parameter, "'one_parameter': It does not take a call and call_next."),
        (with_more, "'with_more': It does not take a call and call_next."),
        (yielding, "yielding: It is a generator"),
        ("name", "'name': It is not a function."),
    ],
)
def test_what_is_no_middleware(function: Any, problem: str) -> None:
    """The error names the function and says what to write."""
    with pytest.raises(ConfigurationError) as caught:
        App().middleware(function)
    assert problem in str(caught.value)
