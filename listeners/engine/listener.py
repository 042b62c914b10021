"""Runs one function: takes entries from its source, starts calls, and settles the results."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from listeners.engine.appetite import Appetite
from listeners.engine.calling.executor import CLEAN_UP_SECONDS, Executor
from listeners.engine.calling.limits import Limits
from listeners.engine.calling.waiting import Waiting
from listeners.engine.failures import FailureLog
from listeners.engine.in_progress import InProgress
from listeners.engine.lease_keeper import LeaseKeeper
from listeners.engine.metrics import FunctionMetrics
from listeners.engine.resilient_loop import FAILED, ResilientLoop, last_step
from listeners.engine.settler import Settler
from listeners.engine.source import LeasedSource, Source
from listeners.engine.suspects import Isolation, SuspectCaller
from listeners.errors import SourceTimeoutError
from listeners.functions.app import Function
from listeners.functions.entries import Entry
from listeners.functions.surroundings import Surroundings
from listeners.runtime.logs import steady_logger
from listeners.runtime.tasks import cancel_until_done, wait_for_event
from listeners.settings import HostSettings

__all__ = ["Listener"]

log = steady_logger("triggerfish.host")

#: How long a read may continue after a drain begins, as it may have taken entries.
LAST_TAKE_SECONDS = 2.0
#: How often a function that is blocked by calls that do not end releases what it holds.
BLOCKED_PAUSE_SECONDS = 1.0


class Listener:
    """Applies back-pressure: no more entries are in progress, from taking to settling, than calls may run. Only pub/sub
    messages, which no other instance could take, wait in progress for their calls, and what cannot be settled because
    a node of a cluster is down.

    Entries go one way, and nothing else hands them on:

        source.take -> InProgress -> _waiting -> Executor -> InProgress -> source.settle
                       (add)         (a slot)    (a call)   (succeed, finish)

    At most `max_bytes` of entries are in progress, or one entry that is larger.
    `surroundings`: what the calls have around them, if anything.
    Suspects go the same way through SuspectCaller, past `_waiting`. The parts report with two events: `_room` (there
    may be a free slot; the taking loop waits for it) and `InProgress.something_finished` (the Settler waits for it).
    """

    def __init__(
        self,
        function: Function,
        source: Source,
        metrics: FunctionMetrics,
        isolation: Isolation,
        settings: HostSettings,
        *,
        max_bytes: int,
        surroundings: Surroundings | None = None,
    ) -> None:
        limits = Limits.of(function)
        self.function = function
        self.ready = asyncio.Event()
        self._source = source
        self._metrics = metrics
        self._isolation = isolation
        self._is_leased = isinstance(source, LeasedSource)
        self._concurrency = limits.calls
        #: Whether entries are taken that wait for their calls.
        self._takes_ahead = not self._is_leased and not function.binding.batch
        self._appetite = Appetite(limits.per_take)
        self._failures = FailureLog(function.name, function.trigger)
        self._in_progress = InProgress(
            limits.in_progress,
            max_bytes,
            batch_size=limits.batch_size,
            settles_successes=self._is_leased,
            metrics=metrics,
            failures=self._failures,
        )
        self._executor = Executor(
            function,
            metrics,
            limits.calls,
            max_abandoned=limits.abandoned,
            max_model_bytes=settings.max_model_bytes,
            may_start=source.may_start,
            results=self._in_progress,
            # An entry with a lease leaves room only once it is settled.
            on_free=self._start_waiting if self._is_leased else self._message_ended,
            on_abandoned=self.resume,
            surroundings=surroundings,
        )
        self._waiting = waiting = Waiting(limits, self._call_gathered)
        self._waiting_calls = waiting.calls
        self._settler = Settler(
            source,
            self._in_progress,
            self._appetite,
            may_exchange=lambda: not (self._is_taking or waiting.room or self._draining.is_set()) and self._may_take(),
            on_taken=self._accept,
            on_settled=self._settled,
        )
        self._is_taking = self._finishing = self._ignores_suspects = False
        self._room = asyncio.Event()
        self._draining = asyncio.Event()
        self._opened_or_draining = asyncio.Event()
        self._broken: set[str] = set()
        self.keeper: LeaseKeeper | None = None
        self._suspects: SuspectCaller | None = None
        if isinstance(source, LeasedSource):
            self._lease(source, settings.lease_seconds)
        isolation.join(self)

    def _lease(self, source: LeasedSource, lease_seconds: float) -> None:
        """Prepare what entries with a lease need."""
        self.keeper = LeaseKeeper(
            self.function.name,
            self._in_progress,
            source.renewal(),
            lease_seconds=lease_seconds,
            on_error=self._metrics.source_error,
            on_state=self._state_changed,
        )
        self._suspects = SuspectCaller(
            self.function, source, self._isolation, self._in_progress, self._executor, on_free=self.resume
        )

    @property
    def idle(self) -> asyncio.Event:
        """Set while no call runs, but for abandoned ones."""
        return self._executor.idle

    @property
    def is_busy(self) -> bool:
        """Whether any entry is in progress: taken and not settled."""
        return bool(self._in_progress.entries)

    @property
    def abandoned_calls(self) -> int:
        """How many timed-out calls are still running."""
        return self._executor.abandoned_calls

    def drain(self) -> None:
        """Stop taking entries. run() then finishes those in progress and returns."""
        self._draining.set()
        self._source.stop_waiting()
        self._opened_or_draining.set()
        self._call_gathered()
        self._room.set()

    def resume(self) -> None:
        """Start calls that were waiting for a slot or for the end of a suspect's call, and take more entries."""
        self._call_gathered()
        self._start_waiting()
        self._room.set()

    async def run(self, grace_seconds: float) -> None:
        """Run until drained or cancelled, finish within `grace_seconds`, release the rest. Never raises SourceError."""
        await self._loop("opening", self._open).run(self._opened_or_draining)
        if self.ready.is_set():
            background = [asyncio.create_task(loop) for loop in self._background()]
            try:
                await self._take_until_drained()
                await self._finish(time.monotonic() + grace_seconds)
            finally:
                await self._executor.cancel(CLEAN_UP_SECONDS)
                await cancel_until_done(background, CLEAN_UP_SECONDS)
                await self._settle_last()
        self._executor.close()
        self._failures.close()
        await self._within_bound("closing", self._source.close())

    def _background(self) -> Iterable[Coroutine[Any, Any, None]]:
        never = asyncio.Event()
        yield self._loop("maintaining", self._source.maintain).run(never)
        yield self._loop("settling", self._settler.settle).run(never)
        yield self._loop("settling what was refused", self._settler.settle_refused).run(never)
        suspects = self._suspects
        if suspects is not None:
            yield self._loop("calling suspects", lambda: suspects.call_next(self._draining)).run(self._draining)

    async def _open(self) -> None:
        description = await self._source.describe()
        await self._source.open()
        log.log(min(description.level, logging.WARNING), "%s: %s", self.function.name, description)
        self._metrics.source_up.set(1)
        self.ready.set()
        self._opened_or_draining.set()

    async def _take_until_drained(self) -> None:
        taking = asyncio.create_task(self._loop("taking", self._take).run(self._draining))
        try:
            await self._draining.wait()
            # A read in progress may have taken entries, so let it end.
            exchanging = asyncio.create_task(self._in_progress.nothing_reserved.wait())
            try:
                await asyncio.wait([taking, exchanging], timeout=LAST_TAKE_SECONDS)
            finally:
                exchanging.cancel()
        finally:
            await cancel_until_done([taking], CLEAN_UP_SECONDS)

    async def _take(self) -> None:
        while not self._draining.is_set():
            self._room.clear()
            if self._executor.blocked and self._is_leased:  # a message cannot be released, so it waits
                await self._release_waiting()
            # What has finished is settled in one step with taking the next ones, which costs half as much.
            if self._free_slots() > 0 and not (self._is_leased and self._in_progress.something_finished.is_set()):
                break
            if self._executor.blocked:  # what arrives late, or is due for a retry, must be released too
                await wait_for_event(self._room, BLOCKED_PAUSE_SECONDS)
            else:
                await self._room.wait()
        if not self._draining.is_set():
            count = self._appetite.count(self._free_slots(), self._in_progress.free_bytes())
            self._is_taking = True
            try:
                self._accept(await self._source.take(count, self._in_progress.free_bytes()))
            except SourceTimeoutError:
                self._appetite.timed_out(count)
                raise
            finally:
                self._is_taking = False
                self._call_gathered()
            await asyncio.sleep(0)  # lets calls that never wait end

    async def _release_waiting(self) -> None:
        """Release what a blocked function cannot start, and what its source has queued, to other instances."""
        groups = self._waiting.remove_all()  # before the wait, during which they could be started, or others join them
        entries = [entry for group in groups for entry in group]
        try:
            await self._source.release(entries)
        except BaseException:
            self._waiting_calls.extendleft(reversed(groups))
            self._start_waiting()
            raise
        self._in_progress.remove(entries, None)

    def _free_slots(self) -> int:
        """Return how many entries may be taken."""
        return self._in_progress.free_slots(self._waiting.room) if self._may_take() else 0

    def _may_take(self) -> bool:
        has_call = self._takes_ahead or self._executor.running_calls < self._concurrency
        return has_call and self._calls_may_start and not self._waiting_calls and not self._executor.blocked

    @property
    def _calls_may_start(self) -> bool:
        return self._isolation.is_open or self._ignores_suspects

    def _accept(self, entries: list[Entry]) -> None:
        """Start calls for entries that were taken, or let them wait for a slot."""
        self._appetite.answered(len(entries), self._in_progress.add(entries))
        if self._finishing:  # the read took too long; they are released with the rest
            return
        self._in_progress.count_taken(entries, sum([entry.deliveries > 1 for entry in entries]))
        self._waiting.add(entries)
        self._call_gathered()
        self._start_waiting()

    def _call_gathered(self) -> None:
        """Call the batch that is being gathered, if it may not become fuller."""
        if not self._waiting.room:
            return
        ends = self._waiting.window_is_over or self._draining.is_set() or self._executor.blocked
        if not ends and self._in_progress.free_bytes() > 0:
            return
        if not self._is_taking:
            self._waiting.end_window()
            self._start_waiting()
        elif isinstance(self._source, LeasedSource):  # what a read that has begun finds belongs to the batch
            self._source.end_wait()

    def _start_waiting(self) -> None:
        if not self._waiting_calls or self._executor.blocked or not self._calls_may_start:
            return
        free = self._concurrency - self._executor.running_calls
        self._executor.start(self._waiting.pop(free))
        self._report_room()

    def _message_ended(self) -> None:
        self._start_waiting()
        self._report_room()

    def _report_room(self) -> None:
        if not self._waiting_calls and (self._draining.is_set() or self._free_slots() > 0):
            self._room.set()

    def _settled(self) -> None:
        if self._free_slots() > 0 or self._executor.blocked:  # when blocked, entries held for a retry must be released
            self._room.set()

    async def _finish(self, deadline: float) -> None:
        """Finish entries in progress until the deadline.

        Messages wait for a suspect's call no longer than half of the time, as they would be lost.
        """
        half_seconds = max(0.0, deadline - time.monotonic()) / 2
        if not self._is_leased:
            asyncio.get_running_loop().call_later(half_seconds, self._ignore_suspects)
        seconds = max(CLEAN_UP_SECONDS, half_seconds)
        stopped = await self._within_bound("stopping", self._source.stop(seconds), seconds)
        unread: list[Entry] = [] if stopped is FAILED else stopped
        while unread and time.monotonic() < deadline:
            count = self._free_slots()
            self._accept(unread[:count])
            del unread[:count]
            self._room.clear()
            await wait_for_event(self._room, max(0.0, deadline - time.monotonic()))
        self._in_progress.add(unread)
        while self._waiting_calls and not self._executor.blocked and time.monotonic() < deadline:
            self._room.clear()
            await wait_for_event(self._room, max(0.0, min(1.0, deadline - time.monotonic())))
        self._finishing = True
        self._waiting.remove_all()
        await wait_for_event(self._executor.idle, max(0.0, deadline - time.monotonic()))

    def _ignore_suspects(self) -> None:
        self._ignores_suspects = True
        self.resume()

    async def _settle_last(self) -> None:
        """Settle the last entries, and release those that have not finished."""
        self._waiting.remove_all()  # they are released with the others
        await self._within_bound("settling", self._settler.settle_last())
        left = list(self._in_progress.unfinished())
        if left:
            log.warning("%s: releasing %d entries that did not finish in time", self.function.name, len(left))
        self._in_progress.remove(left, None)  # so that their leases are renewed no more
        await self._within_bound("releasing", self._source.release(left))

    async def _within_bound(self, doing: str, step: Coroutine[Any, Any, Any], seconds: float = CLEAN_UP_SECONDS) -> Any:
        return await last_step(self.function.name, doing, step, seconds)

    def _loop(self, name: str, step: Callable[[], Coroutine[Any, Any, object]]) -> ResilientLoop:
        return ResilientLoop(
            f"{self.function.name}: {name}", step, on_error=self._metrics.source_error, on_state=self._state_changed
        )

    def _state_changed(self, activity: str, works: bool) -> None:
        (self._broken.discard if works else self._broken.add)(activity)
        self._metrics.source_up.set(0 if self._broken else 1)
