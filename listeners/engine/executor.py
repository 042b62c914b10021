"""Calls a function with entries, within a time limit, and tells what became of each."""

import asyncio
import inspect
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from listeners.engine.code_locations import raised_at, stands_at, waits_at
from listeners.engine.metrics import FunctionMetrics
from listeners.engine.retry_policy import after_failure, describe_exception, lease_lapsed
from listeners.engine.task_pool import PooledTask, TaskPool
from listeners.errors import CallTimeoutError, Reject
from listeners.functions.app import Function
from listeners.functions.entries import Entry, Settlement
from listeners.runtime.deadlines import Deadlines
from listeners.runtime.tasks import wait_for_event

__all__ = ["CLEAN_UP_SECONDS", "Executor"]

log = logging.getLogger("triggerfish.host")

MAX_THREADS = 32
#: How long a cancelled function may take to clean up.
CLEAN_UP_SECONDS = 2.0


class _Call(PooledTask):
    """One call. `given_up`: its entries were settled as failed while it still runs."""

    __slots__ = ("entries", "given_up", "has_place", "overran", "rejected", "thread", "thread_id", "timer")

    def __init__(self, entries: Sequence[Entry], run: Callable[["_Call"], Coroutine[Any, Any, None]]) -> None:
        super().__init__(run(self))
        self.entries = entries
        self.rejected: list[Settlement] = []
        self.timer: asyncio.TimerHandle | None = None
        self.thread: asyncio.Future[Any] | None = None
        self.thread_id = 0
        self.has_place = self.overran = self.given_up = False


class Executor:
    """Calls one function: on the loop if it is async, else on threads of its own.

    `concurrency` calls at most run at once, bounded for threads by MAX_THREADS. A call that takes longer than the
    trigger's limit counts as failed: it is cancelled, and given up on if it goes on regardless, as threads do. Another
    one may then run in its place, until `concurrency` such calls still run: then `blocked` is true and no call begins.
    A call begins only with entries that `holds` is true of. `on_succeeded` and `on_finished` are told what became of
    a call's entries, unless the call was cancelled from outside; `on_change` that `blocked` may have changed.
    `on_not_started` gets the entries of calls that came while blocked; without it they wait.
    """

    def __init__(
        self,
        function: Function,
        metrics: FunctionMetrics,
        concurrency: int,
        *,
        may_start: Callable[[Entry], bool],
        on_succeeded: Callable[[Sequence[Entry]], object],
        on_finished: Callable[[list[Settlement]], object],
        on_change: Callable[[], object],
        on_not_started: Callable[[Sequence[Entry]], object] | None,
    ) -> None:
        self._function = function
        self._metrics = metrics
        self._may_start = may_start
        self._on_succeeded = on_succeeded
        self._on_finished = on_finished
        self._on_change = on_change
        self._on_not_started = on_not_started
        self._limit_seconds = function.trigger.call_timeout_seconds
        self._deadlines = Deadlines[_Call](self._limit_seconds, self._overran)
        self._threads: ThreadPoolExecutor | None = None
        self._concurrency = concurrency
        if not function.binding.is_async:
            self._concurrency = min(concurrency, MAX_THREADS)
            # Twice as many: those that were given up on keep their threads.
            self._threads = ThreadPoolExecutor(2 * self._concurrency, thread_name_prefix=function.name)
        self._pool = TaskPool()
        self._cancelling = False
        self._places = asyncio.Semaphore(self._concurrency)
        #: The calls that have not ended, and were not given up on.
        self._running: set[PooledTask] = set()
        self.idle = asyncio.Event()
        self.idle.set()
        self._overdue: set[_Call] = set()
        self._unblocked = asyncio.Event()
        self._unblocked.set()

    @property
    def blocked(self) -> bool:
        """Whether as many calls as may run at once were given up on and still run."""
        return len(self._overdue) >= self._concurrency

    def start(self, entries: Sequence[Entry]) -> None:
        """Call the function once with these entries, beside all other calls."""
        call = _Call(entries, self._run)
        self._running.add(call)
        self.idle.clear()
        self._pool.start(call)

    async def cancel(self, seconds: float) -> None:
        """Cancel every call once, so that functions can clean up, and wait for as long as that may take."""
        self._cancelling = True
        for unbegun in self._pool.withdraw():
            self._forget(unbegun)
        for call in self._running:
            if call.task is not None:
                call.task.cancel()
        await wait_for_event(self.idle, seconds)

    def close(self) -> None:
        """Start no call any more. One that goes on regardless is not waited for."""
        self._cancelling = True
        for call in self._overdue:
            if call.task is not None:
                call.task.cancel()
        self._deadlines.close()
        self._pool.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, call: _Call) -> None:
        try:
            if self._threads is not None:
                await self._places.acquire()
                call.has_place = True
            while self._overdue and self.blocked:
                if self._on_not_started is not None:
                    self._on_not_started(call.entries)
                    return
                await self._unblocked.wait()
            arguments = self._arguments(call)  # any wait is over now: the call begins at once
            error = await self._invoke(call, arguments) if arguments else None
            if not call.given_up:
                self._tell(call, error)
        finally:
            if call.has_place:
                self._leave_place(call)
            self._ended(call)

    def _tell(self, call: _Call, error: BaseException | None) -> None:
        if error is not None:
            self._on_finished(self._failed(call, error, raised_at(error, self._function.handler)))
            return
        if call.rejected:
            self._on_finished(call.rejected)
        self._on_succeeded(call.entries)

    def _failed(self, call: _Call, error: BaseException, where: str) -> list[Settlement]:
        alone = len(call.entries) == 1
        trigger = self._function.trigger
        return call.rejected + [
            after_failure(trigger, entry, error, alone=alone, where=where) for entry in call.entries
        ]

    def _arguments(self, call: _Call) -> list[Any]:
        """Convert each entry that is still ours; one that cannot be converted is given up on, and hinders no other."""
        may_start, convert = self._may_start, self._function.binding.convert
        arguments: list[Any] = []
        for entry in call.entries:
            if not may_start(entry):
                call.rejected.append(lease_lapsed(entry))
                continue
            try:
                arguments.append(convert(entry))
            except Exception as error:  # noqa: BLE001  (a user's validator may raise anything)
                reason = error if isinstance(error, Reject) else Reject(describe_exception(error))
                where = raised_at(error, self._function.handler)
                call.rejected.append(after_failure(self._function.trigger, entry, reason, alone=True, where=where))
        if call.rejected:
            rejected = {settlement.entry for settlement in call.rejected}
            call.entries = [entry for entry in call.entries if entry not in rejected]
        return arguments

    async def _invoke(self, call: _Call, arguments: list[Any]) -> BaseException | None:
        """Call the handler; what it raised, if anything. Only the cancellation of cancel() and close() is raised, and
        that not of a call that was too slow anyway.
        """
        argument = arguments if self._function.binding.batch else arguments[0]
        began = self._deadlines.add(call)
        error: BaseException | None = None
        try:
            if self._threads is None:
                for entry in call.entries:
                    entry.started = True
                await self._function.handler(argument)
            else:
                error = await self._on_thread(call, argument, self._threads)
        except asyncio.CancelledError as cancelled:
            if self._cancelling and not call.overran:
                raise
            error = cancelled
        except BaseException as raised:  # noqa: BLE001  (even SystemExit of a handler concerns its entry only)
            error = raised
        finally:
            self._deadlines.remove(call)
            if call.timer is not None:
                call.timer.cancel()
            self._metrics.duration.observe(time.perf_counter() - began)
        if call.overran:
            # Cancelled where it waited: that is the line to look at.
            return CallTimeoutError(self._limit_seconds).with_traceback(error.__traceback__ if error else None)
        return error

    async def _on_thread(self, call: _Call, argument: Any, threads: ThreadPoolExecutor) -> BaseException | None:
        """Run the handler to its end, or to the exception that it leaves on its thread."""
        call.thread = asyncio.get_running_loop().run_in_executor(threads, self._begin, call, argument)
        result, error = await call.thread
        call.thread = None
        if call.given_up:
            log.warning("%s: a call that was given up on has ended", self._function.name)
            if inspect.iscoroutine(result):
                result.close()
        elif error is None and inspect.isawaitable(result):
            await result  # a plain wrapper may return its function's coroutine
        return error  # type: ignore[no-any-return]

    def _begin(self, call: _Call, argument: Any) -> tuple[Any, BaseException | None]:
        """Call the handler. What it raises is returned: a future cannot carry every exception (StopIteration)."""
        call.thread_id = threading.get_ident()
        for entry in call.entries:  # here, as a call may wait long for its thread
            entry.started = True
        try:
            return self._function.handler(argument), None
        except BaseException as error:  # noqa: BLE001
            return None, error

    def _leave_place(self, call: _Call) -> None:
        if call.has_place:
            call.has_place = False
            self._places.release()

    def _overran(self, call: _Call) -> None:
        if call.thread is not None and call.thread.done():
            return  # it has ended, and only the loop was too busy to notice
        call.overran = True
        if call.thread is not None:  # nothing can stop it
            self._give_up(call)
        elif call.task is not None:
            call.task.cancel()
            call.timer = asyncio.get_running_loop().call_later(CLEAN_UP_SECONDS, self._give_up, call)

    def _give_up(self, call: _Call) -> None:
        """Settle the entries of a call as failed while it goes on, and let another one run in its place."""
        if call not in self._running:
            return
        call.given_up = True
        self._overdue.add(call)
        self._forget(call)
        self._leave_place(call)
        self._overdue_changed()
        on_thread = call.thread is not None and not call.thread.done()
        handler = self._function.handler
        where = stands_at(call.thread_id, handler) if on_thread else waits_at(call.coroutine, handler)
        self._on_finished(self._failed(call, CallTimeoutError(self._limit_seconds), where))

    def _ended(self, call: _Call) -> None:
        self._forget(call)
        if call in self._overdue:
            self._overdue.discard(call)
            self._overdue_changed()

    def _forget(self, call: PooledTask) -> None:
        self._running.discard(call)
        if not self._running:
            self.idle.set()

    def _overdue_changed(self) -> None:
        self._metrics.overdue.set(len(self._overdue))
        if self.blocked and self._unblocked.is_set():
            self._unblocked.clear()
            log.error(
                "%s: %d calls took longer than %g s and go on regardless: nothing new is taken until one of them ends. "
                "Bound what the function waits for, or raise call_timeout_seconds",
                self._function.name,
                len(self._overdue),
                self._limit_seconds,
            )
        elif not self.blocked and not self._unblocked.is_set():
            self._unblocked.set()
            log.warning("%s: a call has ended, entries are taken again", self._function.name)
        self._on_change()
