"""Moves the entries of one function: taken from its source, handed to calls, settled."""

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

#: Pub/sub has no batch size: so many messages are handled at once.
PUBSUB_CONCURRENCY = 10
#: How long a read that is under way at a drain may go on; it may have taken entries.
LAST_TAKE_SECONDS = 2.0
#: How long cancelled functions may take to clean up, and Redis to hear what became of the last entries.
CLEAN_UP_SECONDS = 2.0
FAILED: Final = object()


class Listener:
    """Takes no more than functions finish: at most a batch is in hand, from the taking to the settling.

    `renew_seconds`: how often the lease on what is in hand is renewed.
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
        #: Entries that must go back, as the function is blocked by calls that do not end.
        self._not_started: list[Entry] = []
        self._executor = Executor(
            function,
            metrics,
            self._capacity,
            may_start=source.may_start,
            on_succeeded=self._in_progress.succeed,
            on_finished=self._in_progress.finish,
            on_change=self._slots_changed.set,
            # A message cannot go back: it waits.
            on_not_started=None if isinstance(trigger, PubSubTrigger) else self._keep_not_started,
        )

    def drain(self) -> None:
        """Take nothing new. run() then finishes what is in hand and returns."""
        self._draining.set()
        self._source.stop_waiting()
        self._opened_or_draining.set()
        self._slots_changed.set()

    async def run(self, grace_seconds: float) -> None:
        """Work until drained, finish within `grace_seconds`, hand back the rest. Never raises SourceError."""
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
        taking = asyncio.create_task(self._loop("taking", self._take).run(self._draining))
        try:
            await self._draining.wait()
            # A read that is under way may have taken entries: let it end.
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
        """Leave to other instances what a blocked function cannot start, and what waits in its source."""
        entries = list(self._not_started)
        await self._source.release(entries)
        self._not_started = self._not_started[len(entries) :]
        self._in_progress.remove(entries, None)

    def _free_slots(self) -> int:
        """How many entries may be taken."""
        return 0 if self._executor.blocked else self._in_progress.free_slots()

    def _accept(self, entries: list[Entry]) -> None:
        """Start the calls of entries that were taken."""
        self._in_progress.add(entries)
        if self._finishing:  # a read that took too long: they go back with the rest
            return
        again = [entry for entry in entries if entry.deliveries > 1]
        self._in_progress.count_taken(entries, len(again))
        given_up = [settlement for entry in again if (settlement := deliveries_exhausted(self.function.trigger, entry))]
        if given_up:
            self._in_progress.finish(given_up)
            hopeless = {settlement.entry for settlement in given_up}
            entries = [entry for entry in entries if entry not in hopeless]
        for group in self._grouped(entries):
            self._executor.start(group)

    def _grouped(self, entries: list[Entry]) -> list[list[Entry]]:
        """The entries of each call: one, or for a batch function all that were never delivered before."""
        if not self.function.binding.batch:
            return [[entry] for entry in entries]
        new = [entry for entry in entries if entry.deliveries == 1]
        return ([new] if new else []) + [[entry] for entry in entries if entry.deliveries > 1]

    async def _settle(self) -> None:
        """Settle all that has finished since the last time, in one go, and take as many new ones with it."""
        await self._in_progress.something_finished.wait()
        self._in_progress.something_finished.clear()
        room = self._room_for_exchange()
        if room > 0:
            await self._exchange(room)
        finished = self._in_progress.pop_finished()
        if finished:
            await self._settle_only(finished)
        if self._free_slots() > 0 or self._executor.blocked:  # what is held for a retry must then be handed over
            self._slots_changed.set()
        await asyncio.sleep(0)  # calls that never wait have ended then: no need to be woken for them

    def _room_for_exchange(self) -> int:
        """How many entries may be taken in the step that settles: none while take() is under way."""
        blocked = self._is_taking or self._executor.blocked or self._not_started or self._draining.is_set()
        return 0 if blocked or self._exchange_failed else self._in_progress.free_slots_after_settling()

    async def _exchange(self, room: int) -> None:
        succeeded = self._in_progress.pop_succeeded()
        self._in_progress.reserve(room)
        self._exchange_failed = True  # then they are settled alone first, or more and more would be in hand
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
        # The pause comes last, so that a renewal that failed is tried again at once.
        await self._source.renew(list(self._in_progress.entries))
        await asyncio.sleep(self._renew_seconds)

    async def _finish(self, deadline: float) -> None:
        """Finish what is in hand until the deadline, then cancel."""
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
        """Tell Redis what became of the last entries, and hand back those that are not finished."""
        finished = self._in_progress.pop_finished()
        if finished and await self._within_bound("settling", self._source.settle(finished)) is not FAILED:
            self._in_progress.settled(finished)
        left = set(self._in_progress.entries) - {settlement.entry for settlement in finished}
        if left:
            log.warning("%s: %d entries were not finished in time and are handed back", self.function.name, len(left))
        await self._within_bound("handing back", self._source.release(list(left)))

    async def _within_bound(self, doing: str, step: Coroutine[Any, Any, Any]) -> Any:
        """Do one last step against Redis; if it fails the leases run out, and others take over then."""
        try:
            async with asyncio.timeout(CLEAN_UP_SECONDS):
                return await step
        except (SourceError, TimeoutError) as error:
            log.warning("%s: %s at the end did not work: %s", self.function.name, doing, error or "no answer in time")
        except Exception:  # a mistake of ours must not keep the other functions from draining
            log.exception("%s: %s at the end failed in a way that was not foreseen", self.function.name, doing)
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
