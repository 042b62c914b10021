"""Calls a function with entries, within a time limit, and tells what became of each."""

import asyncio
import inspect
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from listeners.app import Function
from listeners.errors import CallTimeoutError, Reject
from listeners.messages import Entry, Outcome, Settlement
from listeners.metrics import FunctionMeter
from listeners.outcome import after_failure, described, lapsed
from listeners.traces import raised_at, stands_at, waits_at

__all__ = ["CLEAN_UP_SECONDS", "Caller"]

log = logging.getLogger("triggerfish.host")

MAX_THREADS = 32
#: How long a cancelled function may take to clean up.
CLEAN_UP_SECONDS = 2.0


@dataclass(eq=False, slots=True)
class _Call:
    """One call. `given_up`: its entries were settled as failed while it still runs."""

    entries: Sequence[Entry]
    rejected: list[Settlement] = field(default_factory=list)
    task: "asyncio.Task[None] | None" = None
    timer: asyncio.TimerHandle | None = None
    thread: "asyncio.Future[Any] | None" = None
    thread_id: int = 0
    has_place: bool = False
    overran: bool = False
    given_up: bool = False


class Caller:
    """Calls one function: on the loop if it is async, else on threads of its own.

    `concurrency` calls at most run at once, bounded for threads by MAX_THREADS. A call that takes longer than the
    trigger's limit counts as failed: it is cancelled, and given up on if it goes on regardless, as threads do. Another
    one may then run in its place, until `concurrency` such calls still run: then `blocked` is true and no call begins.
    A call begins only with entries that `holds` is true of. `on_finished` is told what became of a call's entries,
    unless the call was cancelled from outside; `on_change` that `blocked` may have changed. `on_unstarted` gets the
    entries of calls that came while blocked; without it they wait.
    """

    def __init__(
        self,
        function: Function,
        meter: FunctionMeter,
        concurrency: int,
        *,
        holds: Callable[[Entry], bool],
        on_finished: Callable[[list[Settlement]], object],
        on_change: Callable[[], object],
        on_unstarted: Callable[[Sequence[Entry]], object] | None,
    ) -> None:
        self._function = function
        self._meter = meter
        self._holds = holds
        self._on_finished = on_finished
        self._on_change = on_change
        self._on_unstarted = on_unstarted
        self._limit_seconds = function.trigger.call_timeout_seconds
        self._threads: ThreadPoolExecutor | None = None
        self._concurrency = concurrency
        if not function.binding.is_async:
            self._concurrency = min(concurrency, MAX_THREADS)
            # Twice as many: those that were given up on keep their threads.
            self._threads = ThreadPoolExecutor(2 * self._concurrency, thread_name_prefix=function.name)
        self._places = asyncio.Semaphore(self._concurrency)
        #: The tasks of calls whose outcome is awaited.
        self.running: set[asyncio.Task[None]] = set()
        self.idle = asyncio.Event()
        self.idle.set()
        self._overdue: set[asyncio.Task[None]] = set()
        self._unblocked = asyncio.Event()
        self._unblocked.set()

    @property
    def blocked(self) -> bool:
        """Whether as many calls as may run at once were given up on and still run."""
        return len(self._overdue) >= self._concurrency

    def start(self, entries: Sequence[Entry]) -> None:
        """Call the function once with these entries, in a task of its own."""
        call = _Call(entries)
        call.task = asyncio.create_task(self._run(call))
        self.running.add(call.task)
        self.idle.clear()
        call.task.add_done_callback(self._ended)

    def close(self) -> None:
        """Start no call any more. One that goes on regardless is not waited for."""
        for task in self._overdue:
            task.cancel()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, call: _Call) -> None:
        try:
            if self._threads is not None:
                await self._places.acquire()
                call.has_place = True
            if self.blocked and self._on_unstarted is not None:
                self._on_unstarted(call.entries)
                return
            while self.blocked:
                await self._unblocked.wait()
            arguments, call.rejected = self._arguments(call.entries)  # any wait is over now: the call begins at once
            call.entries = [entry for entry, _ in arguments]
            error = await self._invoke(call, [argument for _, argument in arguments]) if arguments else None
            if not call.given_up:
                where = raised_at(error, self._function.handler) if error is not None else ""
                self._on_finished(self._outcomes(call, error, where))
        finally:
            self._leave_place(call)

    def _outcomes(self, call: _Call, error: BaseException | None, where: str) -> list[Settlement]:
        if error is None:
            return call.rejected + [Settlement(entry, Outcome.SUCCEEDED) for entry in call.entries]
        alone = len(call.entries) == 1
        trigger = self._function.trigger
        return call.rejected + [
            after_failure(trigger, entry, error, alone=alone, where=where) for entry in call.entries
        ]

    def _arguments(self, entries: Sequence[Entry]) -> tuple[list[tuple[Entry, Any]], list[Settlement]]:
        """Convert each entry that is still ours; one that cannot be converted is given up on, and hinders no other."""
        arguments: list[tuple[Entry, Any]] = []
        rejected: list[Settlement] = []
        for entry in entries:
            if not self._holds(entry):
                rejected.append(lapsed(entry))
                continue
            try:
                arguments.append((entry, self._function.binding.convert(entry)))
            except Exception as error:  # noqa: BLE001  (a user's validator may raise anything)
                reason = error if isinstance(error, Reject) else Reject(described(error))
                where = raised_at(error, self._function.handler)
                rejected.append(after_failure(self._function.trigger, entry, reason, alone=True, where=where))
        return arguments, rejected

    async def _invoke(self, call: _Call, arguments: list[Any]) -> BaseException | None:
        """Call the handler; what it raised, if anything. Only a cancellation that came from outside is raised."""
        argument = arguments if self._function.binding.batch else arguments[0]
        began = time.perf_counter()
        call.timer = asyncio.get_running_loop().call_later(self._limit_seconds, self._overran, call)
        try:
            error = await self._outcome(call, argument)
        except asyncio.CancelledError as cancelled:
            task = asyncio.current_task()
            if not call.overran and task is not None and task.cancelling():
                raise
            error = cancelled
        except BaseException as raised:  # noqa: BLE001  (even SystemExit of a handler concerns its entry only)
            error = raised
        finally:
            call.timer.cancel()
            self._meter.duration.observe(time.perf_counter() - began)
        if call.overran:
            # Cancelled where it waited: that is the line to look at.
            return CallTimeoutError(self._limit_seconds).with_traceback(error.__traceback__ if error else None)
        return error

    async def _outcome(self, call: _Call, argument: Any) -> BaseException | None:
        """Run the handler to its end, or to the exception that it leaves on a thread."""
        if self._threads is None:
            result, error = self._begin(call, argument)
        else:
            call.thread = asyncio.get_running_loop().run_in_executor(self._threads, self._begin, call, argument)
            result, error = await call.thread
        if call.given_up:
            log.warning("%s: a call that was given up on has ended", self._function.name)
            if inspect.iscoroutine(result):
                result.close()
        elif error is None and inspect.isawaitable(result):
            # From a thread too: a plain wrapper may return its function's coroutine.
            await result
        return error

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
        call.overran = True
        if call.thread is not None and not call.thread.done():  # nothing can stop it
            self._give_up(call)
        elif call.task is not None:
            call.task.cancel()
            call.timer = asyncio.get_running_loop().call_later(CLEAN_UP_SECONDS, self._give_up, call)

    def _give_up(self, call: _Call) -> None:
        """Settle the entries of a call as failed while it goes on, and let another one run in its place."""
        if call.task is None or call.task.done():
            return
        call.given_up = True
        self._overdue.add(call.task)
        self._forget(call.task)
        self._leave_place(call)
        self._overdue_changed()
        on_thread = call.thread is not None and not call.thread.done()
        handler = self._function.handler
        where = stands_at(call.thread_id, handler) if on_thread else waits_at(call.task, handler)
        self._on_finished(self._outcomes(call, CallTimeoutError(self._limit_seconds), where))

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._forget(task)
        if task in self._overdue:
            self._overdue.discard(task)
            self._overdue_changed()

    def _forget(self, task: "asyncio.Task[None]") -> None:
        self.running.discard(task)
        if not self.running:
            self.idle.set()

    def _overdue_changed(self) -> None:
        self._meter.overdue.set(len(self._overdue))
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
