"""One call of a function with entries."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from listeners.engine.calling.task_pool import PooledTask, Run
from listeners.engine.settlement import Settlement
from listeners.functions.entries import Entry

__all__ = ["Handler", "RunningCall", "call_handler"]

Handler = Callable[[Any], Any]


class RunningCall(PooledTask):
    """One call. `abandoned`: its entries were settled as failed while it was still running.

    Its time limit is watched from when it waits: before that, nothing could end it.
    """

    #: What could not be converted, or may not start any more.
    excluded: Sequence[Settlement] = ()
    #: When its handler was called (time.perf_counter).
    began_at = 0.0
    is_watched = timed_out = abandoned = False
    #: The coroutine of the handler, once it waits.
    coroutine: Coroutine[Any, Any, Any] | None = None
    timer: asyncio.TimerHandle | None = None
    thread: asyncio.Future[Any] | None = None
    thread_id = 0

    def __init__(self, entries: Sequence[Entry], begin: "Begin") -> None:
        self.task = None
        self.entries = entries
        self._begin = begin

    def begin(self, run: Run) -> Awaitable[None] | None:
        return run(self._begin, self, run)  # type: ignore[no-any-return]


Begin = Callable[[RunningCall, Run], Awaitable[None] | None]


def call_handler(call: RunningCall, handler: Handler, argument: Any) -> tuple[Any, BaseException | None]:
    """Call a handler on a thread. Return its result or exception, as a future cannot carry some of them."""
    call.thread_id = threading.get_ident()
    for entry in call.entries:  # set here, because a call may wait for its thread
        entry.started_at = time.perf_counter()
    try:
        return handler(argument), None
    except BaseException as error:  # noqa: BLE001
        return None, error
