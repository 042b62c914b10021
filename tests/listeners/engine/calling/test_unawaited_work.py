"""An async function that returns work instead of awaiting it has failed, as nothing would do the work."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from triggerfish import App
from triggerfish.testing import call


async def work() -> None:
    """What is to be done."""
    raise AssertionError("nothing awaits it")


async def returns_at_once(_: str) -> Awaitable[None]:
    """Forget an await."""
    return work()


async def returns_after_a_wait(_: str) -> Awaitable[None]:
    """Forget an await after another one."""
    await asyncio.sleep(0)
    return work()


async def returns_a_future(_: str) -> Awaitable[None]:
    """Return a future."""
    return asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("middleware", [False, True])
@pytest.mark.parametrize("function", [returns_at_once, returns_after_a_wait, returns_a_future])
async def test_it_has_failed(function: Callable[..., Any], middleware: bool) -> None:
    """The entry is retried, with an error that tells what to write."""
    app = App()
    app.list_trigger(keys="q")(function)
    if middleware:

        @app.middleware
        async def around(_: object, call_next: Callable[[], Awaitable[None]]) -> None:
            await call_next()

    result = await call(app, function, "x")
    assert result.retried
    assert "which nothing awaits: write `return await ...`" in result.error


async def test_other_results_are_ignored() -> None:
    """What else a function returns means nothing."""
    app = App()

    @app.list_trigger(keys="q")
    async def function(_: str) -> int:
        return 5

    assert (await call(app, function, "x")).succeeded
