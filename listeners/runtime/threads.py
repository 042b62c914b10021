"""Blocking work on threads that nothing else needs."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["on_own_thread"]

Result = TypeVar("Result")


async def on_own_thread(work: Callable[[], Result], name: str) -> Result:
    """Return the result of work that may block for minutes. Raises what it raises.

    Unlike those of asyncio.to_thread, its thread is not one of a few that others wait for, and does not delay the exit
    of the process. The caller bounds how many run concurrently. Raises RuntimeError if no thread can be started.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: Exception | None) -> None:
        if outcome.done():
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as raised:  # noqa: BLE001
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await outcome
