"""Functions that take a Context beside their entry."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from typing import Annotated, Any

import pytest

from listeners.errors import BindingError, ConfigurationError
from listeners.functions.binding import bind
from triggerfish import Context, RedisMessage

Alias = Context[dict[str, int]]
MADE: Context[str] = Context(state="pool", key="orders")


def second(order: str, context: Context) -> object:
    return order, context


def other_name(order: str, about: Context[int]) -> object:
    return order, about


def first(context: Context[Any], order: str) -> object:
    return order, context


def keyword_only(order: str, *, context: Context) -> object:
    return order, context


def positional_only(order: str, context: Context, /) -> object:
    return order, context


def after_a_default(order: str, times: int = 1, *, context: Context) -> object:
    return order, context


def optional(order: str, context: Context[int] | None = None) -> object:
    return order, context


def alias(order: str, context: Annotated[Alias, "about the call"]) -> object:
    return order, context


def batch(orders: list[str], context: Context) -> object:
    return orders, context


def unannotated_entry(order, context: Context):  # type: ignore[no-untyped-def]
    return order, context


class Handlers:
    def method(self, order: str, context: Context) -> object:
        return order, context

    def __call__(self, order: str, context: Context) -> object:
        return order, context


def with_more(prefix: str, order: str, context: Context) -> object:
    return order, context


@pytest.mark.parametrize(
    "function",
    [
        second,
        other_name,
        first,
        keyword_only,
        positional_only,
        after_a_default,
        optional,
        alias,
        batch,
        unannotated_entry,
        Handlers().method,
        Handlers(),
        functools.partial(with_more, "a"),
    ],
)
def test_functions_that_take_a_context(function: Callable[..., Any]) -> None:
    """A parameter is recognised as the context by its annotation, whatever its name and its place."""
    binding = bind(function)
    assert binding.with_context is not None
    assert binding.with_context(MADE, "order") == ("order", MADE)
    assert binding.batch is (function is batch)


def test_a_function_without_one() -> None:
    """A function that takes no context is called as it is."""

    def handle(message: RedisMessage, times: int = 1) -> None: ...

    assert bind(handle).with_context is None


def other_annotation(order: str, context: dict[str, str]) -> None: ...


def no_annotation(order: str, context) -> None: ...  # type: ignore[no-untyped-def]


def only_named_so(context: str) -> None: ...


def named_so_with_default(order: str, context: str = "") -> None: ...


def two(order: str, context: Context, other: Context) -> None: ...


def only_a_context(context: Context) -> None: ...


def only_a_keyword(*, about: Context) -> None: ...


def three(order: str, other: str, context: Context) -> None: ...


def unresolvable(order: str, about: NotImported[int]) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("function", "field", "value", "fix"),
    [
        (other_annotation, "other_annotation(context)", "dict[str, str]", "Write `context: Context`"),
        (no_annotation, "no_annotation(context)", None, "Write `context: Context`"),
        (only_named_so, "only_named_so(context)", "str", "Give an entry another name"),
        (named_so_with_default, "named_so_with_default(context)", "str", "Write `context: Context`"),
        (two, "two", "context, other", "takes one Context"),
        (only_a_context, "only_a_context", "context", "Write `def only_a_context(message, context: Context)`."),
        (only_a_keyword, "only_a_keyword", "about", "Write `def only_a_keyword(message, about: Context)`."),
        (three, "three", "order, other", "takes one parameter"),
        (unresolvable, "unresolvable(about)", "NotImported[int]", "at the top of the module"),
    ],
)
def test_parameters_that_are_wrong(function: Callable[..., Any], field: str, value: str | None, fix: str) -> None:
    """The error names the parameter and says what to write."""
    with pytest.raises(BindingError) as caught:
        bind(function)
    assert (caught.value.field, caught.value.value) == (field, value)
    assert fix in caught.value.fix


def test_a_context_in_a_test() -> None:
    """A test can make a context. It has no clients, and the error says how to get some."""
    assert (MADE.state, MADE.key, MADE.id, MADE.deliveries, MADE.seconds_left) == ("pool", "orders", None, 1, math.inf)
    with pytest.raises(ConfigurationError, match=r"context\.redis: .*call\(\.\.\., redis=CLIENT\)"):
        _ = MADE.redis
    with pytest.raises(ConfigurationError, match=r"context\.redis_sync: "):
        _ = MADE.redis_sync
    assert Context(state=None, ends_at=time.perf_counter() - 1).seconds_left == 0
