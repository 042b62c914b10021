"""The app that `benchmarks.host.surroundings` measures: the one of VARIANTS that BENCH_VARIANT names."""

import os
from collections.abc import AsyncIterator, Callable
from typing import Any

from benchmarks.host.contenders.tally import Tally
from triggerfish import App, Call, CallNext, Context

__all__ = ["KEY", "VARIANTS"]

KEY = "surroundings"
BATCH = 100

app = App("surroundings")
tally = Tally()


async def count(_text: str) -> None:
    """Count an entry."""
    tally.handled()


async def count_with_context(_text: str, context: Context[Any]) -> None:
    """Count an entry, and look at the context as user code would."""
    if context.deliveries:
        tally.handled()


def add_bare() -> None:
    """Add the function alone."""
    app.list_trigger(keys=KEY, batch_size=BATCH)(count)


def add_with_lifespan() -> None:
    """Add the function to an app with a lifespan."""

    @app.lifespan
    async def state() -> AsyncIterator[dict[str, int]]:
        yield {}

    add_bare()


def add_with_context() -> None:
    """Add a function that takes a context."""
    app.list_trigger(keys=KEY, batch_size=BATCH)(count_with_context)


def add_with_middleware(number: int) -> None:
    """Add the function, with as many middlewares around it."""
    for _ in range(number):

        @app.middleware
        async def around(_call: Call, call_next: CallNext) -> None:
            await call_next()

    add_bare()


VARIANTS: dict[str, Callable[[], None]] = {
    "nothing": add_bare,
    "a lifespan": add_with_lifespan,
    "a context": add_with_context,
    "one middleware": lambda: add_with_middleware(1),
    "five middlewares": lambda: add_with_middleware(5),
}

if "BENCH_VARIANT" in os.environ:
    VARIANTS[os.environ["BENCH_VARIANT"]]()
