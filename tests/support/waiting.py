"""Waits for conditions."""

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

__all__ = ["eventually"]


async def eventually(condition: Callable[[], Any], *, seconds: float = 30.0) -> Any:
    """Return the condition's value once it is true. Raise AssertionError with the last value after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {seconds:g} s; last value: {value!r}")
        await asyncio.sleep(0.005)
