"""Decides when the keys of a trigger are looked at."""

import asyncio
import math
import random
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from listeners.runtime.backoff import Backoff
from listeners.runtime.tasks import wait_for_event
from listeners.tracking.armed import Armed
from listeners.tracking.watch import Watch

__all__ = ["Look", "Lookout"]

#: The first pause between two looks while Redis reports no changes. Doubles up to the polling interval.
FIRST_POLL_SECONDS = 0.01
#: How often it is tried whether Redis reports changes by now.
ARM_AGAIN_SECONDS = 1.0
#: The keys are looked at once in this time even if no change was reported.
VERIFY_SECONDS = 50.0
#: How long after a change of the keys that are not urgent the keys are looked at.
NOT_URGENT_SECONDS = 1.0
#: The pause of an instance that found nothing after a report, as another one was faster: doubles with each time, so
#: that many idle instances do not all ask Redis at each change. From the third time on it comes before the look.
FIRST_PAUSE_SECONDS = 0.004
LAST_PAUSE_SECONDS = 1.0
MANY_LOSSES = 3
#: More are not counted: the pause has its full length. A success undoes two: where each of fifty instances wins now
#: and then, most of them wait.
MOST_LOSSES = 9
SUCCESS_LOSSES = 2


class Look(NamedTuple):
    """A look at the keys that has begun. `reported`: because a change was reported."""

    armed: Armed | None
    reported: bool


class Lookout:
    """Waits until a look at a trigger's keys is worthwhile: a change was reported, an entry is due, or time has passed.

    The owner calls wait(), begin(), looks, and calls ended(), again and again. Where Redis reports no changes, the
    looks come in intervals of up to `polling_seconds`. `keys` are those where entries arrive, and a change of one of
    `not_urgent` is looked at a moment later. With `entries_exist`, a key without entries does not exist (lists).
    `on_polled` is called with whether the keys are polled when that changes.
    """

    def __init__(
        self,
        watch: Watch,
        keys: Sequence[str],
        *,
        not_urgent: Sequence[str] = (),
        entries_exist: bool,
        polling_seconds: float,
        on_polled: Callable[[bool], object],
    ) -> None:
        #: Set while the keys may have something to do.
        self.awake = asyncio.Event()
        self.awake.set()
        self._watch = watch
        self._keys = tuple(keys)
        self._not_urgent_keys = tuple(not_urgent)
        self._entries_exist = entries_exist
        self._polling = Backoff(min(FIRST_POLL_SECONDS, polling_seconds), polling_seconds)
        self._on_polled = on_polled
        self._is_polled: bool | None = None
        self._armed: Armed | None = None
        self._not_urgent: Armed | None = None
        self._not_urgent_at = 0.0 if not_urgent else math.inf
        #: Whether a look has found nothing since the keys were armed.
        self._is_empty = False
        #: Whether the next look is worthwhile anyway, as at the beginning.
        self._look_now = True
        self._stopped = False
        #: Whether the current wait is to end without a look.
        self._ended = False
        self._reported = False
        #: Whether a look has begun and not ended: it may have failed after it changed the keys.
        self._is_looking = False
        #: How many reports in a row were for nothing.
        self._losses = 0
        #: Triggers that were started together are not verified together.
        self._phase = random.uniform(0.0, VERIFY_SECONDS)
        #: When the next entry is due, and when to look although nothing was reported: while Redis reports changes, and
        #: while it does not.
        self._due_at = math.inf
        self._verify_at = math.inf
        self._poll_at = 0.0
        #: Ends a wait.
        self._stirred = asyncio.Event()

    @property
    def resting(self) -> Armed | None:
        """The armed keys if the last look has found nothing, and Redis would have reported every change since."""
        armed = self._armed
        return armed if self._is_empty and armed is not None and armed.proved_at is not None else None

    @property
    def rests_wholly(self) -> bool:
        """Whether it rests, and no change of the keys that are not urgent was reported either."""
        not_urgent = self._not_urgent
        return self.resting is not None and not_urgent is not None and not_urgent.proved_at is not None

    async def describe(self) -> str:
        """Connect to Redis, and describe how the keys will be watched. Changes nothing. Never raises SourceError."""
        refusal = await self._watch.refusal(self._keys[0])
        if not refusal:
            return "woken by client tracking"
        return f"polled at intervals of up to {self._polling.last_seconds * 1000:g} ms ({refusal})"

    async def wait(self) -> bool:
        """Wait until a look is worthwhile: at once if there may be more than the last one has found.

        Return whether to look: not after stop() or end_wait().
        """
        self._reported = self._ended = False
        while not (self._look_now or self._stopped or self._ended):
            self._stirred.clear()
            armed = self._armed
            if armed is None or armed.ended:
                self._reported |= armed is not None and self._is_empty
                self._armed, self._is_empty = None, False
                if (self._reported and self._losses < MANY_LOSSES) or await self._arm():
                    break
            elif not self._is_empty or await self._rest(armed):
                break
        return not (self._stopped or self._ended)

    def begin(self) -> Look:
        """Begin a look. If it fails, the next one follows at once."""
        self._look_now = self._is_empty = False
        self._is_looking = True
        reported, self._reported = self._reported, False
        armed = self._armed if self._armed is not None and not self._armed.ended else None
        return Look(armed, reported)

    def ended(self, look: Look, found: int, *, more: bool, due_seconds: float | None) -> None:
        """Note how many entries a look has found, whether there may be more, and when the next one is due."""
        self._is_looking = False
        if found:
            self._losses = max(0, self._losses - SUCCESS_LOSSES)
            self._polling.reset()
        elif look.reported:
            self._lose()
        if more:  # the next look follows at once
            self._look_now, self._is_empty = True, False
            return
        now = time.monotonic()
        self._is_empty = not found and look.armed is not None and look.armed is self._armed
        if look.armed is None or look.armed.proved_at is None:
            self._poll_at = now + self._polling.pause_seconds()
        self._due_at = math.inf if due_seconds is None else now + due_seconds
        self._verify_at = now + (self._phase - now) % VERIFY_SECONDS

    def wake(self) -> None:
        """Look now, because there is something of which Redis reports nothing."""
        self._look_now = True
        self._stirred.set()
        self.awake.set()

    def end_wait(self) -> None:
        """End a wait that has begun, without a look. Later ones are as usual."""
        self._ended = True
        self._stirred.set()

    def stop(self) -> None:
        """Wait no more."""
        self._stopped = True
        self._stirred.set()
        self.awake.set()

    def close(self) -> None:
        """Stop watching the keys."""
        self.stop()
        for armed in (self._armed, self._not_urgent):
            if armed is not None:
                self._watch.release(armed)

    async def _arm(self) -> bool:
        """Arm the keys, or pause if that is not possible. Return whether to look now."""
        if self._losses:
            most = min(FIRST_PAUSE_SECONDS * 2.0 ** (self._losses - 1), LAST_PAUSE_SECONDS)
            await wait_for_event(self._stirred, most * random.uniform(0.5, 1.0))
        [armed] = await self._watch.arm([self._keys])
        if armed is None:
            self._set_polled(True)
        while armed is None and time.monotonic() < min(self._poll_at, self._due_at) and not self._stirred.is_set():
            await self._pause(min(self._poll_at - time.monotonic(), ARM_AGAIN_SECONDS))
            [armed] = await self._watch.arm([self._keys])
        self._armed = armed
        if armed is None or armed.ended or armed.proved_at is None:
            return True
        self._is_empty = self._entries_exist and armed.missing and not self._is_looking
        if self._is_empty and self._reported:
            self._reported = False
            self._lose()
        return not self._is_empty

    async def _rest(self, armed: Armed) -> bool:
        """Wait for a report, or the time of the next look. Return whether to look now."""
        relied_on = armed.proved_at is not None
        self._set_polled(not relied_on)
        not_urgent_changed = bool(self._not_urgent_keys) and (self._not_urgent is None or self._not_urgent.ended)
        if not_urgent_changed and self._not_urgent_at == math.inf:
            self._not_urgent_at = time.monotonic() + NOT_URGENT_SECONDS
        armed.on_end(self._stir)
        if self._not_urgent is not None and not not_urgent_changed:
            self._not_urgent.on_end(self._stir)
        look_at = min(self._verify_at, self._not_urgent_at) if relied_on else self._poll_at
        if relied_on:
            self.awake.clear()
        try:
            seconds = look_at - time.monotonic()
            await self._pause(seconds if relied_on else min(seconds, ARM_AGAIN_SECONDS))
        finally:
            self.awake.set()
            armed.forget(self._stir)
        now = time.monotonic()
        if armed.ended or now < min(look_at, self._due_at):
            return False
        if relied_on and now >= self._not_urgent_at:
            [self._not_urgent] = await self._watch.arm([self._not_urgent_keys])
            self._not_urgent_at = math.inf
        elif relied_on and now >= self._verify_at and self._entries_exist and armed.missing:
            await self._watch.verify_missing(armed)
        return True

    async def _pause(self, seconds: float) -> None:
        """Wait for `seconds`, or until an entry is due or something stirs."""
        await wait_for_event(self._stirred, max(0.0, min(seconds, self._due_at - time.monotonic())))

    def _lose(self) -> None:
        self._losses = min(self._losses + 1, MOST_LOSSES)

    def _stir(self) -> None:
        self._stirred.set()

    def _set_polled(self, polled: bool) -> None:
        if polled is not self._is_polled:
            self._is_polled = polled
            self._on_polled(polled)
