"""Tasks: moved out of another file; say what belongs here."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

__all__ = ["cancel_until_done", "raise_if_cancelled"]

CANCEL_AGAIN_SECONDS = 0.05


def raise_if_cancelled(task: "asyncio.Task[Any] | None" = None) -> None:
    """End the current task if it was told to end. `task`: that one, for those who know it.

    Before Python 3.12 a cancellation gets lost if it comes just as redis-py has sent a command: asyncio.wait_for then
    returns what is done already.
    """
    task = task or asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def cancel_until_done(tasks: Iterable[asyncio.Task[None]], seconds: float) -> None:
    """Cancel tasks of ours, again and again as a cancellation may get lost, until they end or the time is over."""
    waiting = {task for task in tasks if not task.done()}
    deadline = time.monotonic() + seconds
    while waiting and time.monotonic() < deadline:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=CANCEL_AGAIN_SECONDS)
