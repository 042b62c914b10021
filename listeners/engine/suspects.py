"""Calls suspects alone: entries that came back without an outcome, and may be what ended their process."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from listeners.engine.calling.executor import Executor
from listeners.engine.in_progress import InProgress
from listeners.engine.retry_policy import died_too_often
from listeners.engine.source import LeasedSource
from listeners.errors import SourceError
from listeners.functions.app import Function
from listeners.functions.entries import Entry
from listeners.runtime.backoff import Backoff
from listeners.runtime.logs import steady_logger
from listeners.runtime.tasks import wait_for_either, wait_for_event

__all__ = ["Isolation", "Member", "SuspectCaller"]

log = steady_logger("triggerfish.host")

FIRST_PAUSE_SECONDS = 0.05
LAST_PAUSE_SECONDS = 5.0
#: How long telling Redis of a call is tried, and how long no other call starts until the suspect is settled.
BEGIN_SECONDS = 30.0
SETTLE_SECONDS = 30.0
#: How long further suspects are called before other calls have their turn, and how long this lasts: as messages of
#: pub/sub functions must not wait for long, about as long.
CLOSED_SECONDS = 5.0
OPEN_SECONDS = 5.0
#: How often a function that is blocked by calls that do not end looks whether it may call a suspect.
BLOCKED_PAUSE_SECONDS = 1.0


class Member(Protocol):
    """A function of the process."""

    @property
    def idle(self) -> asyncio.Event:
        """Set while no call runs, but for abandoned ones."""
        ...

    @property
    def abandoned_calls(self) -> int:
        """How many timed-out calls are still running."""
        ...

    def resume(self) -> None:
        """Start what has been waiting while a suspect was called."""
        ...


class Isolation:
    """Shared by all functions of a process: while one suspect runs, no other call starts.

    One suspect at a time has the `turn`. Calls may start while `is_open`.
    """

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.is_open = True
        self._members: list[Member] = []

    def join(self, member: Member) -> None:
        """Include a function."""
        self._members.append(member)

    @property
    def has_abandoned_calls(self) -> bool:
        """Whether a timed-out call still runs, so that no call can be alone."""
        return any(member.abandoned_calls for member in self._members)

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Let no call start while the block runs."""
        self.is_open = False
        try:
            yield
        finally:
            self._open()

    async def pause(self, seconds: float, stop: asyncio.Event) -> None:
        """Let calls start for some time, even within closed(), and then wait until none runs. `stop` ends the waits."""
        was_open = self.is_open
        self._open()
        await wait_for_event(stop, seconds)
        if not was_open:
            self.is_open = False
            await self.wait_until_quiet(stop)

    async def wait_until_quiet(self, stop: asyncio.Event) -> bool:
        """Wait until no call runs, which the time limits of the calls bound. Return False if `stop` was set first."""
        for member in self._members:
            if not member.idle.is_set():
                await wait_for_either(member.idle, stop)
        return not stop.is_set()

    def _open(self) -> None:
        self.is_open = True
        for member in self._members:
            member.resume()


class SuspectCaller:
    """Calls the suspects of one function, one by one, each alone in its process.

    The start of the call is recorded in Redis first, so that a death counts against the entry only if its process ran
    nothing else. A suspect that ended its process too often is dead-lettered instead.

    `on_free` is called after each suspect.
    """

    def __init__(
        self,
        function: Function,
        source: LeasedSource,
        isolation: Isolation,
        in_progress: InProgress,
        executor: Executor,
        *,
        on_free: Callable[[], object],
    ) -> None:
        self._function = function
        self._source = source
        self._isolation = isolation
        self._in_progress = in_progress
        self._executor = executor
        self._on_free = on_free

    async def call_next(self, stop: asyncio.Event) -> None:
        """Wait for suspects and call them, unless `stop` is set first. Raises SourceError."""
        await wait_for_either(self._source.suspects, stop)
        async with self._isolation.turn:
            if self._executor.blocked:
                await wait_for_event(stop, BLOCKED_PAUSE_SECONDS)
            if stop.is_set() or self._executor.blocked:
                return
            try:
                suspect = await self._take(stop)
                if suspect is not None:
                    with self._isolation.closed():
                        others_wait = await self._call_alone(suspect, stop)
                    if others_wait:
                        await wait_for_event(stop, OPEN_SECONDS)
            finally:
                self._on_free()

    async def _call_alone(self, first: Entry, stop: asyncio.Event) -> bool:
        """Call a suspect once no other call runs, and then further ones, for which nothing has to end.

        Return whether it ended because other calls must have their turn.
        """
        suspect: Entry | None = first
        if not await self._isolation.wait_until_quiet(stop):
            return False  # it is released with everything else that is in progress
        until = time.monotonic() + CLOSED_SECONDS
        while suspect is not None:
            await self._call(suspect, stop)
            if stop.is_set() or self._executor.blocked:
                return False
            if time.monotonic() >= until:
                return True
            suspect = await self._take(stop)
        return False

    async def _take(self, stop: asyncio.Event) -> Entry | None:
        """Take the next suspect to call. Those that may not be called again become dead letters."""
        while (suspect := await self._source.take_suspect()) is not None:
            self._in_progress.add([suspect])
            self._in_progress.count_taken([suspect], 1)
            dead = died_too_often(self._function.trigger, suspect)
            if dead is None:
                return suspect
            if await self._begin(suspect, stop, counts=False):  # a dead letter needs the content
                self._in_progress.finish([dead])
                await self._in_progress.wait_until_settled(suspect, SETTLE_SECONDS)
            if stop.is_set():
                return None
        return None

    async def _call(self, suspect: Entry, stop: asyncio.Event) -> None:
        if not await self._begin(suspect, stop, counts=not self._isolation.has_abandoned_calls) or stop.is_set():
            return
        if not self._source.may_start(suspect):
            log.warning(
                "%s: %s not called alone: the answer of Redis came after its lease", self._function.name, suspect.name
            )
            await self._give_back(suspect)  # the call that Redis has counted does not begin
            return
        self._in_progress.add([suspect])  # it has its content now
        log.warning("%s: %s came back without an outcome; it is called alone", self._function.name, suspect.name)
        self._executor.start([[suspect]])
        await self._executor.idle.wait()  # the time limit of the call bounds it
        # Until it is settled, the death of the process would count against it.
        await self._in_progress.wait_until_settled(suspect, SETTLE_SECONDS)

    async def _begin(self, suspect: Entry, stop: asyncio.Event, *, counts: bool) -> bool:
        """Tell Redis that the call begins. Return False if the suspect may not be called.

        Repeated after an error, because Redis may have counted a call that has not begun.
        """
        backoff = Backoff(FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS)
        until = time.monotonic() + BEGIN_SECONDS
        while True:
            try:
                began = await self._source.begin(suspect, counts=counts)
                break
            except SourceError as error:
                if time.monotonic() >= until:
                    await self._give_back(suspect)
                    raise
                log.warning("%s: beginning with %s: %s", self._function.name, suspect.name, error)
            await self._isolation.pause(
                backoff.pause_seconds(), stop
            )  # Redis may be unreachable for this function only
            if stop.is_set():
                return False
        if not began:
            self._in_progress.remove([suspect], None)
        return began

    async def _give_back(self, suspect: Entry) -> None:
        """Release a suspect whose call does not begin, so that none counts."""
        self._in_progress.remove([suspect], None)
        await self._source.release([suspect])
