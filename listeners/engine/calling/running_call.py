"""A call of a function that waits, or runs on a thread."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from listeners.functions.entries import Entry

__all__ = ["Handler", "RunningCall", "call_handler"]

Handler = Callable[[Any], Any]


class RunningCall:
    """One call that has begun, on `task`, at a time (time.perf_counter).

    `abandoned`: its entries were settled as failed while it was still running.
    """

    __slots__ = (
        "abandoned", "began_at", "coroutine", "entries", "task", "thread", "thread_id", "timed_out", "timer",
    )  # fmt: skip

    def __init__(self, entries: Sequence[Entry], task: "asyncio.Task[None]", began_at: float) -> None:
        self.entries = entries
        self.task = task
        self.began_at = began_at
        self.timed_out = self.abandoned = False
        #: What runs the handler, once it waits.
        self.coroutine: Coroutine[Any, Any, Any] | None = None
        #: Abandons a call that does not end when it is cancelled.
        self.timer: asyncio.TimerHandle | None = None
        self.thread: asyncio.Future[Any] | None = None
        self.thread_id = 0


def call_handler(call: RunningCall, handler: Handler, argument: Any) -> tuple[Any, BaseException | None]:
    """Call a handler on a thread. Return its result or exception, as a future cannot carry some of them."""
    call.thread_id = threading.get_ident()
    for entry in call.entries:  # set here, because a call may wait for its thread
        entry.started_at = time.perf_counter()
    try:
        return handler(argument), None
    except BaseException as error:  # noqa: BLE001
        return None, error
