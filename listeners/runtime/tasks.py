"""Bounded waits for events and for cancelled tasks, and running several coroutines together."""

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

__all__ = ["cancel_until_done", "raise_if_cancelled", "together", "wait_for_either", "wait_for_event"]

CANCEL_AGAIN_SECONDS = 0.05

T = TypeVar("T")


async def together(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return the results of coroutines that run concurrently. A single one needs no task of its own, which would cost
    it two turns of the event loop.
    """
    coroutines = list(calls)
    return [await coroutines[0]] if len(coroutines) == 1 else await asyncio.gather(*coroutines)


async def wait_for_event(event: asyncio.Event, seconds: float) -> bool:
    """Wait until the event is set, for at most `seconds`. Return whether it is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


async def wait_for_either(first: asyncio.Event, second: asyncio.Event) -> None:
    """Wait until one of two events is set. The owner of the events bounds the wait."""
    waits = [asyncio.ensure_future(event.wait()) for event in (first, second)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def raise_if_cancelled(task: "asyncio.Task[Any] | None" = None) -> None:
    """Raise CancelledError if the current task has been cancelled. Passing it as `task` saves looking it up.

    Before Python 3.12, a cancellation that arrives just after redis-py has sent a command is lost: asyncio.wait_for
    returns the finished result instead.
    """
    task = task or asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def cancel_until_done(tasks: Iterable[asyncio.Task[None]], seconds: float) -> None:
    """Cancel tasks repeatedly, as a cancellation may be lost, until they end or `seconds` have passed."""
    waiting = {task for task in tasks if not task.done()}
    deadline = time.monotonic() + seconds
    while waiting and time.monotonic() < deadline:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=CANCEL_AGAIN_SECONDS)
