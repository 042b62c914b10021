"""Calls a function with entries, within a time limit, and reports the outcome of each."""

import asyncio
import inspect
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from listeners.engine.code_locations import raised_at, running_at, suspended_at
from listeners.engine.metrics import FunctionMetrics
from listeners.engine.retry_policy import after_failure, lease_lapsed
from listeners.engine.task_pool import PooledTask, TaskPool
from listeners.errors import CallTimeoutError, Reject
from listeners.functions.app import Function
from listeners.functions.entries import Entry, Settlement
from listeners.runtime.deadlines import Deadlines
from listeners.runtime.tasks import wait_for_event
from listeners.text import describe_exception

__all__ = ["CLEAN_UP_SECONDS", "Executor"]

log = logging.getLogger("triggerfish.host")

MAX_THREADS = 32
#: How long a cancelled function may take to clean up.
CLEAN_UP_SECONDS = 2.0


class _Call(PooledTask):
    """One call. `abandoned`: its entries were settled as failed while it was still running."""

    __slots__ = ("abandoned", "entries", "excluded", "has_slot", "thread", "thread_id", "timed_out", "timer")

    def __init__(self, entries: Sequence[Entry], run: Callable[["_Call"], Coroutine[Any, Any, None]]) -> None:
        super().__init__(run(self))
        self.entries = entries
        self.excluded: list[Settlement] = []
        self.timer: asyncio.TimerHandle | None = None
        self.thread: asyncio.Future[Any] | None = None
        self.thread_id = 0
        self.has_slot = self.timed_out = self.abandoned = False


class Executor:
    """Calls one function: on the event loop if it is async, otherwise on dedicated threads.

    At most `concurrency` calls run concurrently, and at most MAX_THREADS on threads. A call that exceeds the trigger's
    time limit counts as failed. It is cancelled, and abandoned if it keeps running, as threads do. Another call may run
    in its slot, until `concurrency` abandoned calls are still running. Then `blocked` is true and no call starts.

    A call starts only with entries for which `may_start` is true. `on_succeeded` and `on_finished` receive the outcome
    of a call's entries, unless cancel() or close() cancelled the call. `on_change` is called when `blocked` may have
    changed. `on_not_started` receives the entries of calls that arrive while blocked; without it, such calls wait.
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
        self._deadlines = Deadlines[_Call](self._limit_seconds, self._on_timeout)
        self._threads: ThreadPoolExecutor | None = None
        self._concurrency = concurrency
        if not function.binding.is_async:
            self._concurrency = min(concurrency, MAX_THREADS)
            # Twice as many, because abandoned calls keep their threads.
            self._threads = ThreadPoolExecutor(2 * self._concurrency, thread_name_prefix=function.name)
        self._pool = TaskPool()
        self._cancelling = False
        self._slots = asyncio.Semaphore(self._concurrency)
        #: The calls that have neither ended nor been abandoned.
        self._running: set[PooledTask] = set()
        self.idle = asyncio.Event()
        self.idle.set()
        self._overdue: set[_Call] = set()
        self._unblocked = asyncio.Event()
        self._unblocked.set()

    @property
    def blocked(self) -> bool:
        """Whether the number of abandoned calls that are still running has reached the concurrency limit."""
        return len(self._overdue) >= self._concurrency

    def start(self, entries: Sequence[Entry]) -> None:
        """Call the function once with these entries, concurrently with all other calls."""
        call = _Call(entries, self._run)
        self._running.add(call)
        self.idle.clear()
        self._pool.start(call)

    async def cancel(self, seconds: float) -> None:
        """Cancel every call once, so that functions can clean up, and wait at most `seconds` for them to end."""
        self._cancelling = True
        for pending in self._pool.withdraw():
            self._discard_running(pending)
        for call in self._running:
            if call.task is not None:
                call.task.cancel()
        await wait_for_event(self.idle, seconds)

    def close(self) -> None:
        """Start no further calls. Calls that keep running are not awaited."""
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
                await self._slots.acquire()
                call.has_slot = True
            while self._overdue and self.blocked:
                if self._on_not_started is not None:
                    self._on_not_started(call.entries)
                    return
                await self._unblocked.wait()
            arguments = self._convert_entries(call)  # checks the leases, so it comes after every wait
            error = await self._invoke(call, arguments) if arguments else None
            if not call.abandoned:
                self._report(call, error)
        finally:
            if call.has_slot:
                self._release_slot(call)
            self._on_ended(call)

    def _report(self, call: _Call, error: BaseException | None) -> None:
        if error is not None:
            self._on_finished(self._failures(call, error, raised_at(error, self._function.handler)))
            return
        if call.excluded:
            self._on_finished(call.excluded)
        self._on_succeeded(call.entries)

    def _failures(self, call: _Call, error: BaseException, where: str) -> list[Settlement]:
        alone = len(call.entries) == 1
        trigger = self._function.trigger
        return call.excluded + [
            after_failure(trigger, entry, error, alone=alone, where=where) for entry in call.entries
        ]

    def _convert_entries(self, call: _Call) -> list[Any]:
        """Convert the entries whose lease is still valid. One that cannot be converted fails alone."""
        may_start, convert = self._may_start, self._function.binding.convert
        arguments: list[Any] = []
        for entry in call.entries:
            if not may_start(entry):
                call.excluded.append(lease_lapsed(entry))
                continue
            try:
                arguments.append(convert(entry))
            except Exception as error:  # noqa: BLE001  (a user's validator may raise anything)
                reason = error if isinstance(error, Reject) else Reject(describe_exception(error))
                where = raised_at(error, self._function.handler)
                call.excluded.append(after_failure(self._function.trigger, entry, reason, alone=True, where=where))
        if call.excluded:
            excluded = {settlement.entry for settlement in call.excluded}
            call.entries = [entry for entry in call.entries if entry not in excluded]
        return arguments

    async def _invoke(self, call: _Call, arguments: list[Any]) -> BaseException | None:
        """Call the handler and return what it raised, if anything.

        Raises only the cancellation by cancel() or close(), and only if the call has not timed out already.
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
            if self._cancelling and not call.timed_out:
                raise
            error = cancelled
        except BaseException as raised:  # noqa: BLE001  (even a handler's SystemExit concerns only its entry)
            error = raised
        finally:
            self._deadlines.remove(call)
            if call.timer is not None:
                call.timer.cancel()
            self._metrics.duration.observe(time.perf_counter() - began)
        if call.timed_out:
            # The cancellation was raised where the handler waited, which is the line to report.
            return CallTimeoutError(self._limit_seconds).with_traceback(error.__traceback__ if error else None)
        return error

    async def _on_thread(self, call: _Call, argument: Any, threads: ThreadPoolExecutor) -> BaseException | None:
        """Run the handler to its end and return the exception raised on its thread, if any."""
        call.thread = asyncio.get_running_loop().run_in_executor(threads, self._call_handler, call, argument)
        result, error = await call.thread
        call.thread = None
        if call.abandoned:
            log.warning("%s: a timed-out call has finished", self._function.name)
            if inspect.iscoroutine(result):
                result.close()
        elif error is None and inspect.isawaitable(result):
            await result  # a plain wrapper may return its function's coroutine
        return error  # type: ignore[no-any-return]

    def _call_handler(self, call: _Call, argument: Any) -> tuple[Any, BaseException | None]:
        """Call the handler. Return its result or exception, as a future cannot carry some of them (StopIteration)."""
        call.thread_id = threading.get_ident()
        for entry in call.entries:  # set here, because a call may wait long for its thread
            entry.started = True
        try:
            return self._function.handler(argument), None
        except BaseException as error:  # noqa: BLE001
            return None, error

    def _release_slot(self, call: _Call) -> None:
        if call.has_slot:
            call.has_slot = False
            self._slots.release()

    def _on_timeout(self, call: _Call) -> None:
        if call.thread is not None and call.thread.done():
            return  # it has ended; the event loop was too busy to notice
        call.timed_out = True
        if call.thread is not None:  # a thread cannot be stopped
            self._abandon(call)
        elif call.task is not None:
            call.task.cancel()
            call.timer = asyncio.get_running_loop().call_later(CLEAN_UP_SECONDS, self._abandon, call)

    def _abandon(self, call: _Call) -> None:
        """Settle the entries of a running call as failed, and free its slot for another call."""
        if call not in self._running:
            return
        call.abandoned = True
        self._overdue.add(call)
        self._discard_running(call)
        self._release_slot(call)
        self._overdue_changed()
        on_thread = call.thread is not None and not call.thread.done()
        handler = self._function.handler
        where = running_at(call.thread_id, handler) if on_thread else suspended_at(call.coroutine, handler)
        self._on_finished(self._failures(call, CallTimeoutError(self._limit_seconds), where))

    def _on_ended(self, call: _Call) -> None:
        self._discard_running(call)
        if call in self._overdue:
            self._overdue.discard(call)
            self._overdue_changed()

    def _discard_running(self, call: PooledTask) -> None:
        self._running.discard(call)
        if not self._running:
            self.idle.set()

    def _overdue_changed(self) -> None:
        self._metrics.overdue.set(len(self._overdue))
        if self.blocked and self._unblocked.is_set():
            self._unblocked.clear()
            log.error(
                "%s: %d timed-out calls (limit %g s) are still running; consumption is paused until one finishes. "
                "Bound what the function waits for, or raise call_timeout_seconds",
                self._function.name,
                len(self._overdue),
                self._limit_seconds,
            )
        elif not self.blocked and not self._unblocked.is_set():
            self._unblocked.set()
            log.warning("%s: a timed-out call has finished; consumption resumes", self._function.name)
        self._on_change()
