"""Calls a function with entries, within a time limit, and reports the outcome of each."""

import asyncio
import contextvars
import functools
import inspect
import time
import types
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from listeners.engine.calling.arguments import Arguments
from listeners.engine.calling.outcomes import failed, failed_in_part
from listeners.engine.calling.running_call import Handler, RunningCall, call_handler
from listeners.engine.calling.task_pool import Rest, Run, Task, TaskPool
from listeners.engine.in_progress import InProgress
from listeners.engine.metrics import FunctionMetrics
from listeners.errors import BatchError, CallTimeoutError
from listeners.functions.app import Function
from listeners.functions.entries import Entry
from listeners.functions.surroundings import Surroundings
from listeners.runtime.code_locations import running_at, suspended_at
from listeners.runtime.deadlines import Deadlines
from listeners.runtime.logs import steady_logger
from listeners.runtime.tasks import wait_for_event

__all__ = ["CLEAN_UP_SECONDS", "Executor"]

log = steady_logger("triggerfish.host")

#: How long a cancelled function may take to clean up.
CLEAN_UP_SECONDS = 2.0


class Executor:
    """Calls one function: on the event loop if it is async, otherwise on dedicated threads.

    Its owner starts at most `concurrency` calls at a time. A call that exceeds the trigger's time limit counts as
    failed. It is cancelled, and abandoned if it keeps running, as threads do. While `max_abandoned` abandoned calls are
    still running, `blocked` is true, and the owner starts none.

    A call starts only with entries for which `may_start` is true. `results` receives the outcome of a call's entries,
    unless cancel() or close() cancelled the call. An entry of more than `max_model_bytes` is not validated.
    `on_free` is called when another call may start in place of one that has ended or was abandoned, and `on_abandoned`
    when `blocked` may have changed. `surroundings`: the context and the middleware, if there are any.
    """

    def __init__(
        self,
        function: Function,
        metrics: FunctionMetrics,
        concurrency: int,
        *,
        max_abandoned: int,
        max_model_bytes: int,
        may_start: Callable[[Entry], bool],
        results: InProgress,
        on_free: Callable[[], object],
        on_abandoned: Callable[[], object],
        surroundings: Surroundings | None = None,
    ) -> None:
        self._function = function
        self._handler = function.handler
        self._is_batch = function.binding.batch
        self._arguments = Arguments(function, max_model_bytes=max_model_bytes, may_start=may_start, results=results)
        self._surroundings = surroundings
        self._is_plainly_async = function.binding.is_async and surroundings is None
        self._metrics = metrics
        self._results = results
        self._on_free = on_free
        self._on_abandoned = on_abandoned
        self._limit_seconds = function.trigger.call_timeout_seconds
        self._deadlines = Deadlines[RunningCall](self._limit_seconds, self._on_timeout)
        self._threads: ThreadPoolExecutor | None = None
        self._max_abandoned = max_abandoned
        if not function.binding.is_async:
            # Abandoned calls keep their threads.
            self._threads = ThreadPoolExecutor(concurrency + max_abandoned, thread_name_prefix=function.name)
        self._pool = TaskPool(self._begin, self._report_ended)
        self._cancelling = False
        #: How many calls have neither been reported as ended nor been abandoned.
        self._calls = 0
        self.idle = asyncio.Event()
        self.idle.set()
        #: Those of them that wait, or run on a thread.
        self._waiting: set[RunningCall] = set()
        self._abandoned: set[RunningCall] = set()
        self._was_blocked = False
        #: What is to be reported: how many calls have ended, how long they took, and the entries that succeeded.
        self._ended = 0
        self._durations: list[float] = []
        self._succeeded: list[Entry] = []

    @property
    def running_calls(self) -> int:
        """How many calls have neither ended nor been abandoned."""
        return self._calls

    @property
    def abandoned_calls(self) -> int:
        """How many abandoned calls are still running."""
        return len(self._abandoned)

    @property
    def blocked(self) -> bool:
        """Whether `max_abandoned` abandoned calls are still running, so that no other call may start."""
        return len(self._abandoned) >= self._max_abandoned

    def start(self, calls: Collection[Sequence[Entry]]) -> None:
        """Call the function once with each of these groups of entries, concurrently with all other calls."""
        if calls:
            self._calls += len(calls)
            self.idle.clear()
            self._pool.start(calls)

    async def cancel(self, seconds: float) -> None:
        """Cancel every call once, so that functions can clean up, and wait at most `seconds` for them to end."""
        self._cancelling = True
        self._forget_calls(len(self._pool.withdraw()))
        for call in self._waiting:
            call.task.cancel()
        await wait_for_event(self.idle, seconds)

    def close(self) -> None:
        """Start no further calls. Calls that keep running are not awaited."""
        self._cancelling = True
        for call in self._abandoned:
            call.task.cancel()
        self._deadlines.close()
        self._pool.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _begin(self, entries: Sequence[Entry], task: Task, run: Run) -> Awaitable[None] | None:
        """Call the handler until it ends or waits for the first time. Return the rest of a call that waits.

        Its time limit is watched from when it waits: before that, nothing could end it.
        """
        entries, arguments = self._arguments.of(entries)
        if not arguments:
            self._ended += 1
            return None
        error: BaseException | None = None
        call: RunningCall | None = None
        began_at = time.perf_counter()
        try:
            argument = arguments if self._is_batch else arguments[0]
            if self._is_plainly_async:
                for entry in entries:
                    entry.started_at = began_at
                coroutine = self._handler(argument)
                if not isinstance(coroutine, types.CoroutineType):
                    coroutine = _awaiting(coroutine)
            else:
                call = RunningCall(entries, task, began_at)
                coroutine = self._invoke(call, argument)
            try:
                awaited = coroutine.send(None)
            except StopIteration as end:
                if end.value is not None:
                    error = self._error_in(end.value)
            else:
                call = call or RunningCall(entries, task, began_at)
                call.coroutine = coroutine
                self._waiting.add(call)
                self._deadlines.add(call, began_at)
                return self._end(call, Rest(coroutine, run, awaited))
        except BaseException as raised:  # noqa: BLE001  (even a handler's SystemExit concerns only its entry)
            error = raised
        self._durations.append(time.perf_counter() - began_at)
        self._ended += 1
        if error is None:
            self._succeeded += entries
        else:
            self._report_failure(entries, error)
        return None

    async def _end(self, call: RunningCall, rest: Rest) -> None:
        """Wait for the end of a call. Raises only the cancellation by cancel() or close(), if it came in time."""
        error: BaseException | None = None
        try:
            error = self._error_in(await rest)
        except asyncio.CancelledError as cancelled:
            if self._cancelling and not call.timed_out:
                self._leave(call)
                raise
            error = cancelled
        except BaseException as raised:  # noqa: BLE001
            error = raised
        try:
            if call.timed_out:
                # The cancellation was raised where the handler waited, which is the line to report.
                trace = error.__traceback__ if error else None
                error = CallTimeoutError(self._limit_seconds).with_traceback(trace)
            if error is None:
                self._succeeded += call.entries
            elif not call.abandoned:
                self._report_failure(call.entries, error)
        finally:
            self._leave(call)

    def _error_in(self, result: Any) -> BaseException | None:
        """Return the error that the result of a call means: that of a thread, or work that was not awaited."""
        return _unawaited(result) if self._is_plainly_async else result

    def _report_failure(self, entries: Sequence[Entry], error: BaseException) -> None:
        """Report a call that raised an error."""
        if isinstance(error, BatchError):
            failures, succeeded = failed_in_part(self._function, entries, error)
            self._succeeded += succeeded
        else:
            failures = failed(self._function, entries, error)
        self._results.finish(failures)

    def _report_ended(self) -> None:
        """Report the calls that have ended since the last report, all at once, as this costs more than most calls."""
        if not self._ended:
            return
        self._metrics.duration.observe_all(self._durations)
        succeeded, ended = self._succeeded, self._ended
        self._durations, self._succeeded, self._ended = [], [], 0
        if succeeded:
            self._results.succeed(succeeded)
        self._forget_calls(ended)
        self._on_free()

    async def _invoke(self, call: RunningCall, argument: Any) -> BaseException | None:
        """Call the handler on a thread, or within what calls have around them. Return what was raised on the thread."""
        if self._surroundings is None:
            return await self._on_thread(call, self._handler, argument)
        ends_at, run = call.began_at + self._limit_seconds, functools.partial(self._call_within, call)
        await self._surroundings.run(call.entries, argument, ends_at, run)
        return None

    async def _call_within(self, call: RunningCall, handler: Handler, argument: Any) -> None:
        """Call the handler from middleware, which gets what it raises."""
        if self._threads is None:
            for entry in call.entries:
                entry.started_at = time.perf_counter()
            if (mistake := _unawaited(await handler(argument))) is not None:
                raise mistake
            return
        variables = contextvars.copy_context()  # which middleware may have set
        error = await self._on_thread(call, lambda given: variables.run(handler, given), argument)
        if call.timed_out:
            # The time limit, which middleware has exceeded too, bounds it no more.
            call.timer = asyncio.get_running_loop().call_later(CLEAN_UP_SECONDS, call.task.cancel)
            raise CallTimeoutError(self._limit_seconds)
        if error is not None:
            raise error

    async def _on_thread(self, call: RunningCall, handler: Handler, argument: Any) -> BaseException | None:
        """Run the handler to its end and return the exception raised on its thread, if any."""
        call.thread = asyncio.get_running_loop().run_in_executor(self._threads, call_handler, call, handler, argument)
        result, error = await call.thread
        call.thread = None
        if call.abandoned:
            log.warning("%s: a timed-out call has finished", self._function.name)
            if inspect.iscoroutine(result):
                result.close()
        elif error is None and inspect.isawaitable(result):
            await result  # a plain wrapper may return its function's coroutine
        return error  # type: ignore[no-any-return]

    def _on_timeout(self, call: RunningCall) -> None:
        on_thread = call.thread is not None and not call.thread.done()
        if call.thread is not None and not on_thread and self._surroundings is None:
            return  # it has ended; the event loop was too busy to notice
        call.timed_out = True
        if on_thread:  # a thread cannot be stopped
            self._abandon(call)
        else:
            call.task.cancel()
            call.timer = asyncio.get_running_loop().call_later(CLEAN_UP_SECONDS, self._abandon, call)

    def _abandon(self, call: RunningCall) -> None:
        """Report the entries of a running call as failed, so that another call may start."""
        if call not in self._waiting:
            return
        call.abandoned = True
        self._waiting.discard(call)
        self._abandoned.add(call)
        self._forget_calls(1)
        self._abandoned_changed()
        handler = self._function.handler
        if call.thread is not None and not call.thread.done():
            where = running_at(call.thread_id, handler)
        else:
            where = suspended_at(call.coroutine, handler) if call.coroutine is not None else ""
        self._results.finish(failed(self._function, call.entries, CallTimeoutError(self._limit_seconds), where))
        self._on_free()

    def _leave(self, call: RunningCall) -> None:
        """Report a call that has waited as ended."""
        self._deadlines.remove(call)
        if call.timer is not None:
            call.timer.cancel()
        self._durations.append(time.perf_counter() - call.began_at)
        if call.abandoned:
            self._abandoned.discard(call)
            self._abandoned_changed()
        else:
            self._waiting.discard(call)
            self._ended += 1
            self._report_ended()

    def _forget_calls(self, number: int) -> None:
        self._calls -= number
        if not self._calls:
            self.idle.set()

    def _abandoned_changed(self) -> None:
        self._metrics.overdue.set(len(self._abandoned))
        if self.blocked and not self._was_blocked:
            log.error(
                "%s: %d timed-out calls (limit %g s) are still running; consumption is paused until one finishes. "
                "Bound what the function waits for, or raise call_timeout_seconds",
                self._function.name,
                len(self._abandoned),
                self._limit_seconds,
            )
        elif self._was_blocked and not self.blocked:
            log.warning("%s: a timed-out call has finished; consumption resumes", self._function.name)
        self._was_blocked = self.blocked
        self._on_abandoned()


def _unawaited(result: object) -> TypeError | None:
    """Return the error if what an async function returns is work that nothing would do."""
    if result is None or not inspect.isawaitable(result):
        return None
    if inspect.iscoroutine(result):
        result.close()
    kind = type(result).__name__
    return TypeError(f"the function has returned a {kind}, which nothing awaits: write `return await ...`")


async def _awaiting(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
