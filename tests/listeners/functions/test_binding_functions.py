"""Which functions can be bound: plain and async functions, methods, partials, callable objects and wrappers."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from listeners.engine.calling.executor import Executor
from listeners.engine.failures import FailureLog
from listeners.engine.in_progress import InProgress
from listeners.engine.metrics import FunctionMetrics, HostMetrics
from listeners.engine.settlement import Outcome, Settlement
from listeners.errors import BindingError, Reject
from listeners.functions.app import Function
from listeners.functions.binding import bind, function_name
from listeners.functions.entries import Entry
from listeners.functions.triggers import ListTrigger

if TYPE_CHECKING:
    from decimal import Decimal

called: list[object] = []


class Order(BaseModel):
    number: int


def plain(order: Order) -> None:
    called.append(order)


async def on_loop(order: Order) -> None:
    called.append(order)


def with_more(prefix: str, order: Order, *, suffix: str = "") -> None:
    called.append(order)


async def on_loop_with_more(prefix: str, order: Order) -> None:
    called.append(order)


def with_defaults(order: Order, times: int = 1, *rest: str, suffix: str = "", **more: str) -> None:
    called.append(order)


def only_positional(order: Order, /) -> None:
    called.append(order)


def unresolvable_return_type(order: Order) -> Decimal | None:
    called.append(order)
    return None


class Handlers:
    prefix: str = ""

    def method(self, order: Order) -> None:
        called.append(order)

    async def method_on_loop(self, order: Order) -> None:
        called.append(order)

    @classmethod
    def of_class(cls, order: Order) -> None:
        called.append(order)

    @staticmethod
    def static(order: Order) -> None:
        called.append(order)


class Called:
    number: int = 0

    def __call__(self, order: Order) -> None:
        called.append(order)


class CalledOnLoop:
    async def __call__(self, order: Order) -> None:
        called.append(order)


def wrapped(function: Callable[[Order], object]) -> Callable[[Order], object]:
    """Return a plain wrapper, which passes on what the function returns."""

    @functools.wraps(function)
    def wrapper(order: Order) -> object:
        return function(order)

    return wrapper


def wrapped_on_loop(function: Callable[[Order], object]) -> Callable[[Order], Awaitable[None]]:
    """Return an async wrapper around a plain function."""

    @functools.wraps(function)
    async def wrapper(order: Order) -> None:
        function(order)

    return wrapper


async def outcome_of(function: Callable[..., Any], payload: bytes = b'{"number": 5}') -> Settlement:
    """Call the function with one entry and return its settlement."""
    metrics = FunctionMetrics(HostMetrics(CollectorRegistry()), "app", "f")
    called = Function("f", function, ListTrigger(keys=("q",)), bind(function))
    failures = FailureLog("f", called.trigger)
    results = InProgress(1, 1_000_000, settles_successes=True, metrics=metrics, failures=failures)
    executor = Executor(
        called,
        metrics,
        1,
        max_abandoned=1,
        max_model_bytes=1_000,
        may_start=lambda entry: True,
        results=results,
        on_free=lambda: None,
        on_abandoned=lambda: None,
    )
    try:
        executor.start([[Entry("q", payload=payload)]])
        async with asyncio.timeout(5):
            await executor.idle.wait()
    finally:
        executor.close()
    [settlement] = results.pop_finished()
    return settlement


CALLABLE: list[tuple[Callable[..., Any], str, bool]] = [
    (plain, "plain", False),
    (on_loop, "on_loop", True),
    (with_defaults, "with_defaults", False),
    (only_positional, "only_positional", False),
    (unresolvable_return_type, "unresolvable_return_type", False),
    (functools.partial(with_more, "a"), "with_more", False),
    (functools.partial(functools.partial(with_more, "a"), suffix="b"), "with_more", False),
    (functools.partial(on_loop_with_more, "a"), "on_loop_with_more", True),
    (Handlers().method, "method", False),
    (Handlers().method_on_loop, "method_on_loop", True),
    (Handlers.of_class, "of_class", False),
    (Handlers.static, "static", False),
    (Called(), "Called", False),
    (CalledOnLoop(), "CalledOnLoop", True),
    (functools.partial(CalledOnLoop()), "CalledOnLoop", True),
    (wrapped(plain), "plain", False),
    (wrapped(on_loop), "on_loop", False),
    (wrapped_on_loop(plain), "plain", True),
]


@pytest.mark.parametrize(("function", "name", "is_async"), CALLABLE)
async def test_functions_that_can_be_bound(function: Callable[..., Any], name: str, is_async: bool) -> None:
    """A function in any form has a name, receives its parameter's type, and has run when its call has succeeded."""
    binding = bind(function)
    assert (function_name(function), binding.is_async, binding.batch) == (name, is_async, False)
    called.clear()
    assert (await outcome_of(function)).outcome is Outcome.SUCCEEDED
    assert called == [Order(number=5)]


async def rejecting_on_loop(order: Order) -> None:
    raise Reject("no")


def rejecting(order: Order) -> None:
    raise Reject("no")


@pytest.mark.parametrize("function", [wrapped(rejecting_on_loop), wrapped_on_loop(rejecting), rejecting])
async def test_exceptions_of_wrapped_functions(function: Callable[..., Any]) -> None:
    """An exception of a function is noticed, also through a wrapper of the other kind."""
    settlement = await outcome_of(function)
    assert (settlement.outcome, settlement.error) == (Outcome.DEAD_LETTERED, "Reject: no")


def no_parameter() -> None: ...


def two(order: Order, other: Order) -> None: ...


def keyword_only(*, order: Order) -> None: ...


def keyword_as_well(order: Order, *, other: str) -> None: ...


def only_var_positional(*orders: Order) -> None: ...


def only_var_keyword(**orders: Order) -> None: ...


def generator(order: Order) -> Iterator[None]:
    yield


async def async_generator(order: Order) -> AsyncIterator[None]:
    yield


def unresolvable_parameter_type(order: Decimal) -> None: ...


class Yielding:
    def __call__(self, order: Order) -> Iterator[None]:
        yield


@pytest.mark.parametrize(
    ("function", "field", "value"),
    [
        (no_parameter, "no_parameter", None),
        (two, "two", "order, other"),
        (keyword_only, "keyword_only", "order"),
        (keyword_as_well, "keyword_as_well", "order, other"),
        (only_var_positional, "only_var_positional", None),
        (only_var_keyword, "only_var_keyword", None),
        (Handlers.method, "Handlers.method", "self, order"),
        (functools.partial(plain, Order(number=1)), "plain", None),
        (functools.partial(two), "two", "order, other"),
        (generator, "generator", None),
        (async_generator, "async_generator", None),
        (functools.partial(generator), "generator", None),
        (Yielding(), "Yielding", None),
        (unresolvable_parameter_type, "unresolvable_parameter_type(order)", "Decimal"),
        (max, "max", None),
    ],
)
def test_functions_that_cannot_be_bound(function: Callable[..., Any], field: str, value: str | None) -> None:
    """A function that cannot be called with one message is rejected, and the error names the function and a fix."""
    with pytest.raises(BindingError) as caught:
        bind(function)
    assert (caught.value.field, caught.value.value) == (field, value)
    assert caught.value.fix.endswith(".")


def test_a_local_type() -> None:
    """A postponed annotation that names a local type is rejected, and the error says where to define the type."""

    class Local(BaseModel):
        number: int

    def handle(local: Local) -> None: ...

    with pytest.raises(BindingError, match=r"name 'Local' is not defined.* at the top of the module"):
        bind(handle)


async def test_a_large_entry_is_not_validated() -> None:
    """An entry above the limit is rejected for a model, whose validation cannot be interrupted, and passed as bytes."""
    payload = b'{"number": 5, "padding": "' + b"x" * 1_000 + b'"}'
    received: list[bytes] = []

    async def takes_model(order: Order) -> None:
        raise AssertionError("it was validated")

    async def takes_bytes(raw: bytes) -> None:
        received.append(raw)

    settlement = await outcome_of(takes_model, payload)
    assert settlement.outcome is Outcome.DEAD_LETTERED
    assert settlement.error.startswith("Reject: its 1,028 bytes are more than host.max_model_bytes (1,000)")
    assert (await outcome_of(takes_bytes, payload)).outcome is Outcome.SUCCEEDED
    assert received == [payload]
