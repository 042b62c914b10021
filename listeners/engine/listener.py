"""Runs one function: takes entries from its source, starts calls, and settles the results."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from listeners.engine.executor import Executor
from listeners.engine.in_progress import InProgress
from listeners.engine.metrics import FunctionMetrics
from listeners.engine.resilient_loop import ResilientLoop
from listeners.engine.retry_policy import deliveries_exhausted
from listeners.engine.source import Source
from listeners.errors import SourceError
from listeners.functions.app import Function
from listeners.functions.entries import Entry, Outcome, Settlement
from listeners.functions.triggers import PubSubTrigger
from listeners.runtime.tasks import cancel_until_done, wait_for_event

__all__ = ["Listener"]

log = logging.getLogger("triggerfish.host")

#: Pub/sub has no batch size; this many messages are handled concurrently.
PUBSUB_CONCURRENCY = 10
#: How long a read in progress may continue after a drain begins; it may have taken entries.
LAST_TAKE_SECONDS = 2.0
#: How long cancelled functions may take to clean up, and how long each last step against Redis may take.
CLEAN_UP_SECONDS = 2.0
#: What _within_bound() returns if a step failed.
FAILED: Final = object()


class Listener:
    """Applies back-pressure: at most one batch is in progress, from taking to settling.

    `renew_seconds`: how often the leases of entries in progress are renewed.
    """

    def __init__(self, function: Function, source: Source, metrics: FunctionMetrics, *, renew_seconds: float) -> None:
        trigger = function.trigger
        self.function = function
        self.ready = asyncio.Event()
        self._source = source
        self._metrics = metrics
        self._capacity = PUBSUB_CONCURRENCY if isinstance(trigger, PubSubTrigger) else trigger.batch_size
        self._renew_seconds = renew_seconds
        self._in_progress = InProgress(function.name, self._capacity, batch=function.binding.batch, metrics=metrics)
        self._is_taking = False
        self._exchange_failed = False
        self._finishing = False
        self._slots_changed = asyncio.Event()
        self._draining = asyncio.Event()
        self._opened_or_draining = asyncio.Event()
        self._broken: set[str] = set()
        #: Entries to release because the function is blocked by calls that do not end.
        self._not_started: list[Entry] = []
        self._executor = Executor(
            function,
            metrics,
            self._capacity,
            may_start=source.may_start,
            on_succeeded=self._in_progress.succeed,
            on_finished=self._in_progress.finish,
            on_change=self._slots_changed.set,
            # A message cannot be released, so it waits.
            on_not_started=None if isinstance(trigger, PubSubTrigger) else self._keep_not_started,
        )

    def drain(self) -> None:
        """Stop taking entries. run() then finishes those in progress and returns."""
        self._draining.set()
        self._source.stop_waiting()
        self._opened_or_draining.set()
        self._slots_changed.set()

    async def run(self, grace_seconds: float) -> None:
        """Run until drained, finish within `grace_seconds`, and release the rest. Never raises SourceError."""
        await self._loop("opening", self._open).run(self._opened_or_draining)
        if self.ready.is_set():
            never = asyncio.Event()
            background = [
                asyncio.create_task(self._loop("maintaining", self._source.maintain).run(never)),
                asyncio.create_task(self._loop("renewing", self._renew).run(never)),
                asyncio.create_task(self._loop("settling", self._settle).run(never)),
            ]
            try:
                await self._take_until_drained()
                await self._finish(time.monotonic() + grace_seconds)
            finally:
                await cancel_until_done(background, CLEAN_UP_SECONDS)
                await self._settle_last()
        self._executor.close()
        await self._within_bound("closing", self._source.close())

    async def _open(self) -> None:
        line = await self._source.describe()
        await self._source.open()
        log.log(logging.WARNING if "WARNING" in line else logging.INFO, "%s: %s", self.function.name, line)
        self._metrics.source_up.set(1)
        self.ready.set()
        self._opened_or_draining.set()

    async def _take_until_drained(self) -> None:
        taking = asyncio.create_task(self._loop("fetching", self._take).run(self._draining))
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
            self._slots_changed.clear()
            if self._executor.blocked or self._not_started:
                await self._release_not_started()
            if self._free_slots() > 0:
                break
            await self._slots_changed.wait()
        if not self._draining.is_set():
            self._is_taking = True
            try:
                entries = await self._source.take(self._free_slots())
            finally:
                self._is_taking = False
            self._accept(entries)

    def _keep_not_started(self, entries: Iterable[Entry]) -> None:
        self._not_started += entries
        self._slots_changed.set()

    async def _release_not_started(self) -> None:
        """Release what a blocked function cannot start, and what its source has queued, to other instances."""
        entries = list(self._not_started)
        await self._source.release(entries)
        self._not_started = self._not_started[len(entries) :]
        self._in_progress.remove(entries, None)

    def _free_slots(self) -> int:
        """Return how many entries may be taken."""
        return 0 if self._executor.blocked else self._in_progress.free_slots()

    def _accept(self, entries: list[Entry]) -> None:
        """Start calls for entries that were taken."""
        self._in_progress.add(entries)
        if self._finishing:  # the read took too long; they are released with the rest
            return
        redelivered = [entry for entry in entries if entry.deliveries > 1]
        self._in_progress.count_taken(entries, len(redelivered))
        exhausted = [
            settlement for entry in redelivered if (settlement := deliveries_exhausted(self.function.trigger, entry))
        ]
        if exhausted:
            self._in_progress.finish(exhausted)
            poison = {settlement.entry for settlement in exhausted}
            entries = [entry for entry in entries if entry not in poison]
        for group in self._grouped(entries):
            self._executor.start(group)

    def _grouped(self, entries: list[Entry]) -> list[list[Entry]]:
        """Return the entries of each call: one, or for a batch function all those delivered for the first time."""
        if not self.function.binding.batch:
            return [[entry] for entry in entries]
        new = [entry for entry in entries if entry.deliveries == 1]
        return ([new] if new else []) + [[entry] for entry in entries if entry.deliveries > 1]

    async def _settle(self) -> None:
        """Settle everything that has finished since the last step, and take new entries in the same step."""
        await self._in_progress.something_finished.wait()
        self._in_progress.something_finished.clear()
        room = self._room_for_exchange()
        if room > 0:
            await self._exchange(room)
        finished = self._in_progress.pop_finished()
        if finished:
            await self._settle_only(finished)
        if self._free_slots() > 0 or self._executor.blocked:  # when blocked, entries held for a retry must be released
            self._slots_changed.set()
        await asyncio.sleep(0)  # lets calls that never wait end, which saves a wake-up

    def _room_for_exchange(self) -> int:
        """Return how many entries may be taken in the step that settles: none while take() is running."""
        blocked = self._is_taking or self._executor.blocked or self._not_started or self._draining.is_set()
        return 0 if blocked or self._exchange_failed else self._in_progress.free_slots_after_settling()

    async def _exchange(self, room: int) -> None:
        succeeded = self._in_progress.pop_succeeded()
        self._in_progress.reserve(room)
        # After a failure they are settled alone first. Otherwise ever more entries would be in progress.
        self._exchange_failed = True
        try:
            entries = await self._source.settle_and_take(succeeded, room)
        except BaseException:
            self._in_progress.succeed(succeeded)
            raise
        finally:
            self._in_progress.reserve(0)
        self._exchange_failed = False
        self._in_progress.remove(succeeded, Outcome.SUCCEEDED)
        if entries:
            self._accept(entries)

    async def _settle_only(self, finished: list[Settlement]) -> None:
        try:
            await self._source.settle(finished)
        except BaseException:
            self._in_progress.finish(finished)
            raise
        self._exchange_failed = False
        self._in_progress.settled(finished)

    async def _renew(self) -> None:
        # The pause comes last, so that it does not delay the retry of a failed renewal.
        await self._source.renew(list(self._in_progress.entries))
        await asyncio.sleep(self._renew_seconds)

    async def _finish(self, deadline: float) -> None:
        """Finish entries in progress until the deadline, then cancel."""
        stopped = await self._within_bound("stopping", self._source.stop())
        unread: list[Entry] = [] if stopped is FAILED else stopped
        while unread and time.monotonic() < deadline:
            count = self._free_slots()
            self._accept(unread[:count])
            del unread[:count]
            self._slots_changed.clear()
            await wait_for_event(self._slots_changed, max(0.0, deadline - time.monotonic()))
        self._in_progress.add(unread)
        self._finishing = True
        await wait_for_event(self._executor.idle, max(0.0, deadline - time.monotonic()))
        await self._executor.cancel(CLEAN_UP_SECONDS)

    async def _settle_last(self) -> None:
        """Settle the last entries, and release those that have not finished."""
        finished = self._in_progress.pop_finished()
        if finished and await self._within_bound("settling", self._source.settle(finished)) is not FAILED:
            self._in_progress.settled(finished)
        left = set(self._in_progress.entries) - {settlement.entry for settlement in finished}
        if left:
            log.warning("%s: releasing %d entries that did not finish in time", self.function.name, len(left))
        await self._within_bound("releasing", self._source.release(list(left)))

    async def _within_bound(self, doing: str, step: Coroutine[Any, Any, Any]) -> Any:
        """Run one last step against Redis. If it fails, the leases expire and other instances take over."""
        try:
            async with asyncio.timeout(CLEAN_UP_SECONDS):
                return await step
        except (SourceError, TimeoutError) as error:
            log.warning("%s: %s failed during shutdown: %s", self.function.name, doing, error or "no answer in time")
        except Exception:  # a bug must not keep the other functions from draining
            log.exception("%s: unexpected error while %s during shutdown", self.function.name, doing)
        return FAILED

    def _loop(self, name: str, step: Callable[[], Coroutine[Any, Any, object]]) -> ResilientLoop:
        return ResilientLoop(
            f"{self.function.name}: {name}",
            step,
            on_error=self._metrics.source_error,
            on_state=self._state_changed,
        )

    def _state_changed(self, activity: str, works: bool) -> None:
        (self._broken.discard if works else self._broken.add)(activity)
        self._metrics.source_up.set(0 if self._broken else 1)
