"""Pushes activation: looks at the triggers that have an open stream, and wakes those that turn active."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator

from listeners.errors import TriggerfishError
from scaler.evaluation import Evaluator, Origin
from scaler.metadata import ScaledTrigger

__all__ = ["ActivationWatch"]

log = logging.getLogger("triggerfish.scaler")

#: KEDA drops a `true` that comes before it has written the ScaledObject's status: the first one is said again.
REPEAT_AFTER_SECONDS = (2.0, 10.0)
#: At most one `true` per stream in so long.
LEAST_GAP_SECONDS = 1.0
#: What looking may cost Redis: with very many streams the interval grows.
COMMANDS_PER_SECOND = 20_000
COMMANDS_PER_TRIGGER = 4


class _Stream:
    """One open stream: what it was told, and when it has to be told again."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self._active = False
        self._sent_at = 0.0
        self._due: list[float] = []

    def see(self, now: float, *, active: bool) -> None:
        """Take note of the state; wake the stream if it must be told."""
        if active and not self._active:
            self._due = [max(now, self._sent_at + LEAST_GAP_SECONDS)]
            if self._sent_at == 0.0:
                self._due += [now + seconds for seconds in REPEAT_AFTER_SECONDS]
        elif not active:
            self._due = []
        self._active = active
        if self._due and self._due[0] <= now:
            self.wake.set()

    def tell(self, now: float) -> None:
        """The stream is being told."""
        self.wake.clear()
        self._sent_at = now
        self._due = [due for due in self._due if due > now]


class ActivationWatch:
    """Looks at all triggers with open streams about every `interval_seconds`, in a round trip for each Redis."""

    def __init__(self, evaluator: Evaluator, interval_seconds: float) -> None:
        self._evaluator = evaluator
        self._interval_seconds = interval_seconds
        self._streams: defaultdict[tuple[Origin, ScaledTrigger], set[_Stream]] = defaultdict(set)
        self._stopping = asyncio.Event()

    async def activations(self, origin: Origin, scaled: ScaledTrigger) -> AsyncIterator[None]:
        """Yields whenever the trigger has become active; ends when the watch stops. Never says that it is inactive:
        older versions of KEDA would scale to zero on that at once.
        """
        stream = _Stream()
        self._streams[origin, scaled].add(stream)
        try:
            while not self._stopping.is_set():
                await stream.wake.wait()
                if not self._stopping.is_set():
                    stream.tell(time.monotonic())
                    yield
        finally:
            self._streams[origin, scaled].discard(stream)
            if not self._streams[origin, scaled]:
                del self._streams[origin, scaled]

    async def run(self) -> None:
        """Look until stopped."""
        while not self._stopping.is_set():
            began = time.monotonic()
            await asyncio.gather(*(self._look(origin, scaled) for origin, scaled in list(self._streams)))
            try:
                async with asyncio.timeout(max(0.0, self._pause_seconds() - (time.monotonic() - began))):
                    await self._stopping.wait()
            except TimeoutError:
                pass

    def stop(self) -> None:
        """End all streams in good order."""
        self._stopping.set()
        for streams in self._streams.values():
            for stream in streams:
                stream.wake.set()

    def _pause_seconds(self) -> float:
        return max(self._interval_seconds, len(self._streams) * COMMANDS_PER_TRIGGER / COMMANDS_PER_SECOND)

    async def _look(self, origin: Origin, scaled: ScaledTrigger) -> None:
        try:
            evaluation = await self._evaluator.evaluate(origin, scaled)
        except TriggerfishError:
            return  # not known: no change; the evaluation has counted the error
        except Exception:
            log.exception("looking at %s/%s failed in a way that was not foreseen", origin.namespace, origin.name)
            return  # one trigger's trouble must not end the watch of all
        now = time.monotonic()
        for stream in self._streams.get((origin, scaled), ()):
            stream.see(now, active=evaluation.active)
