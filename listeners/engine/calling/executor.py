"""Calls a function with entries, within a time limit, and reports the outcome of each."""

import asyncio
import contextvars
import functools
import inspect
import time
import types
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from listeners.engine.calling.outcomes import failed, failed_in_part, not_convertible, too_large
from listeners.engine.calling.running_call import Handler, RunningCall, call_handler
from listeners.engine.calling.task_pool import PooledTask, Rest, Run, TaskPool
from listeners.engine.in_progress import InProgress
from listeners.engine.metrics import FunctionMetrics
from listeners.engine.retry_policy import lease_lapsed
from listeners.engine.settlement import Settlement
from listeners.errors import BatchError, CallTimeoutError, Reject
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
        self._surroundings = surroundings
        self._is_plainly_async = function.binding.is_async and surroundings is None
        self._metrics = metrics
        self._may_start = may_start
        self._results = results
        self._on_free = on_free
        self._on_abandoned = on_abandoned
        self._limit_seconds = function.trigger.call_timeout_seconds
        self._deadlines = Deadlines[RunningCall](self._limit_seconds, self._on_timeout)
        self._threads: ThreadPoolExecutor | None = None
        self._max_abandoned = max_abandoned
        self._max_model_bytes = max_model_bytes if function.binding.validates else None
        if not function.binding.is_async:
            # Abandoned calls keep their threads.
            self._threads = ThreadPoolExecutor(concurrency + max_abandoned, thread_name_prefix=function.name)
        self._pool = TaskPool()
        self._cancelling = False
        #: The calls that have neither ended nor been abandoned.
        self._running: set[PooledTask] = set()
        self.idle = asyncio.Event()
        self.idle.set()
        self._abandoned: set[RunningCall] = set()
        self._was_blocked = False

    @property
    def running_calls(self) -> int:
        """How many calls have neither ended nor been abandoned."""
        return len(self._running)

    @property
    def abandoned_calls(self) -> int:
        """How many abandoned calls are still running."""
        return len(self._abandoned)

    @property
    def blocked(self) -> bool:
        """Whether `max_abandoned` abandoned calls are still running, so that no other call may start."""
        return len(self._abandoned) >= self._max_abandoned

    def start(self, entries: Sequence[Entry]) -> None:
        """Call the function once with these entries, concurrently with all other calls."""
        call = RunningCall(entries, self._begin)
        if not self._running:
            self.idle.clear()
        self._running.add(call)
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
        for call in self._abandoned:
            if call.task is not None:
                call.task.cancel()
        self._deadlines.close()
        self._pool.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _begin(self, call: RunningCall, run: Run) -> Awaitable[None] | None:
        """Call the handler until it ends or waits for the first time. Return the rest of a call that waits."""
        arguments = self._convert_entries(call)
        if not arguments:
            self._results.finish(call.excluded)
            self._leave(call)
            return None
        error: BaseException | None = None
        call.began_at = time.perf_counter()
        try:
            coroutine = self._coroutine(call, arguments if self._is_batch else arguments[0])
            try:
                awaited = coroutine.send(None)
            except StopIteration as end:
                error = self._raised(end.value)
            else:
                call.coroutine, call.is_watched = coroutine, True
                self._deadlines.add(call, call.began_at)
                return self._end(call, Rest(coroutine, run, awaited))
        except BaseException as raised:  # noqa: BLE001  (even a handler's SystemExit concerns only its entry)
            error = raised
        self._ended(call, error)
        return None

    async def _end(self, call: RunningCall, rest: Rest) -> None:
        """Wait for the end of a call. Raises only the cancellation by cancel() or close(), if it came in time."""
        error: BaseException | None = None
        try:
            error = self._raised(await rest)
        except asyncio.CancelledError as cancelled:
            if self._cancelling and not call.timed_out:
                self._stop_measuring(call)
                self._leave(call)
                raise
            error = cancelled
        except BaseException as raised:  # noqa: BLE001
            error = raised
        self._ended(call, error)

    def _ended(self, call: RunningCall, error: BaseException | None) -> None:
        """Report the outcome of a call that has raised an error, or none."""
        self._stop_measuring(call)
        try:
            if error is None and not (call.excluded or call.timed_out or call.abandoned):
                self._results.succeed(call.entries)
            elif not call.abandoned:
                self._report(call, error)
        finally:
            self._leave(call)

    def _coroutine(self, call: RunningCall, argument: Any) -> Coroutine[Any, Any, Any]:
        """Return what runs the handler."""
        if not self._is_plainly_async:
            return self._invoke(call, argument)
        for entry in call.entries:
            entry.started_at = call.began_at
        awaitable = self._handler(argument)
        return awaitable if isinstance(awaitable, types.CoroutineType) else _awaiting(awaitable)

    def _raised(self, result: Any) -> BaseException | None:
        """Return the error that the result of _coroutine() is; the result of a plain coroutine function means none."""
        return None if self._is_plainly_async else result

    def _report(self, call: RunningCall, error: BaseException | None) -> None:
        """Report a call that timed out or failed, or of which some entries failed before it."""
        if call.timed_out:
            # The cancellation was raised where the handler waited, which is the line to report.
            trace = error.__traceback__ if error else None
            error = CallTimeoutError(self._limit_seconds).with_traceback(trace)
        failures: list[Settlement] = []
        succeeded: Sequence[Entry] = ()
        if error is None:
            succeeded = call.entries
        elif isinstance(error, BatchError):
            failures, succeeded = failed_in_part(self._function, call.entries, error)
        else:
            failures = failed(self._function, call.entries, error)
        self._results.finish([*call.excluded, *failures])
        if succeeded:
            self._results.succeed(succeeded)

    def _convert_entries(self, call: RunningCall) -> list[Any]:
        """Convert the entries whose lease is still valid. One that cannot be converted fails alone."""
        may_start, convert, limit = self._may_start, self._function.binding.convert, self._max_model_bytes
        arguments: list[Any] = []
        excluded: dict[Entry, Settlement] = {}
        for entry in call.entries:
            if not may_start(entry):
                excluded[entry] = lease_lapsed(entry)
                continue
            try:
                if limit is not None and (size := self._results.size_of(entry)) > limit:
                    raise Reject(too_large(size, limit))  # noqa: TRY301  (it counts like any other rejection)
                arguments.append(convert(entry))
            except BaseException as error:  # noqa: BLE001  (a user's validator may raise anything, even SystemExit)
                excluded[entry] = not_convertible(self._function, entry, error)
        if excluded:
            call.excluded = list(excluded.values())
            call.entries = [entry for entry in call.entries if entry not in excluded]
        return arguments

    def _stop_measuring(self, call: RunningCall) -> None:
        self._metrics.duration.observe(time.perf_counter() - call.began_at)
        if call.is_watched:
            self._deadlines.remove(call)
            if call.timer is not None:
                call.timer.cancel()

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
            await handler(argument)
            return
        variables = contextvars.copy_context()  # which middleware may have set
        error = await self._on_thread(call, lambda given: variables.run(handler, given), argument)
        if call.timed_out:
            if call.task is not None:  # the time limit, which middleware has exceeded too, bounds it no more
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
        elif call.task is not None:
            call.task.cancel()
            call.timer = asyncio.get_running_loop().call_later(CLEAN_UP_SECONDS, self._abandon, call)

    def _abandon(self, call: RunningCall) -> None:
        """Report the entries of a running call as failed, so that another call may start."""
        if call not in self._running:
            return
        call.abandoned = True
        self._abandoned.add(call)
        self._discard_running(call)
        self._abandoned_changed()
        handler = self._function.handler
        if call.thread is not None and not call.thread.done():
            where = running_at(call.thread_id, handler)
        else:
            where = suspended_at(call.coroutine, handler) if call.coroutine is not None else ""
        failures = failed(self._function, call.entries, CallTimeoutError(self._limit_seconds), where)
        self._results.finish([*call.excluded, *failures])
        self._on_free()

    def _leave(self, call: RunningCall) -> None:
        self._discard_running(call)
        if call.abandoned:
            self._abandoned.discard(call)
            self._abandoned_changed()
        self._on_free()

    def _discard_running(self, call: PooledTask) -> None:
        self._running.discard(call)
        if not self._running:
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


async def _awaiting(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
