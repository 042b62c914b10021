"""Pushes activation: which triggers have open streams, and what looks at them, for each Redis."""

import asyncio
import time
from collections.abc import AsyncIterator

from listeners.connections.spec import ConnectionSpec
from listeners.errors import ConfigurationError
from scaler.evaluation.evaluator import Evaluator
from scaler.push.loop import PushLoop, PushPace
from scaler.push.subscribers import PushedTrigger, Subscriber
from scaler.triggers.metadata import ScaledTrigger
from scaler.triggers.owner import Owner

__all__ = ["ActivationHub"]


class ActivationHub:
    """Knows the triggers with open streams, and has a loop for each Redis that at least one of them reads."""

    def __init__(self, evaluator: Evaluator, pace: PushPace) -> None:
        self._evaluator = evaluator
        self._pace = pace
        self._triggers: dict[tuple[Owner, ScaledTrigger], PushedTrigger] = {}
        #: Those that read no Redis, or one that is not to be had now, are together under None.
        self._loops: dict[ConnectionSpec | None, PushLoop] = {}
        self._read: dict[PushedTrigger, ConnectionSpec | None] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    async def activations(self, owner: Owner, scaled: ScaledTrigger) -> AsyncIterator[None]:
        """Yields whenever the trigger has become active; ends when the watch stops. Never says that it is inactive:
        older versions of KEDA would scale to zero on that at once.
        """
        subscriber = Subscriber()
        trigger = self._open(owner, scaled, subscriber)
        try:
            while not self._stopping.is_set():
                await subscriber.wake.wait()
                if not self._stopping.is_set():
                    subscriber.mark_notified(time.monotonic())
                    yield
        finally:
            trigger.subscribers.discard(subscriber)
            if not trigger.subscribers:
                del self._triggers[owner, scaled]
                self._leave(trigger)

    def connections_changed(self) -> None:
        """Let triggers whose connection is another Redis now be looked at there."""
        for trigger, before in list(self._read.items()):
            if self._redis_of(trigger) != before:
                self._leave(trigger)
                self._join(trigger)

    def intervals_seconds(self) -> dict[str, float]:
        """How often the triggers of each connection are looked at, by its name; see PushedTrigger.connection."""
        found: dict[str, float] = {}
        for spec, loop in self._loops.items():
            for name in {trigger.connection for trigger in loop.triggers} if spec is not None else ():
                found[name] = max(loop.interval_seconds, found.get(name, 0.0))
        return found

    def stop(self) -> None:
        """End all streams in good order."""
        self._stopping.set()
        for trigger in self._triggers.values():
            for subscriber in trigger.subscribers:
                subscriber.wake.set()

    async def close(self) -> None:
        """End all loops."""
        self._read.clear()
        loops, self._loops = self._loops, {}
        await asyncio.gather(*(loop.close() for loop in loops.values()), *self._closing)

    def _open(self, owner: Owner, scaled: ScaledTrigger, subscriber: Subscriber) -> PushedTrigger:
        trigger = self._triggers.get((owner, scaled))
        if trigger is None:
            trigger = self._triggers[owner, scaled] = PushedTrigger(owner, scaled)
            self._join(trigger)
        else:
            self._loops[self._read[trigger]].check_soon(trigger)
        trigger.subscribers.add(subscriber)
        return trigger

    def _join(self, trigger: PushedTrigger) -> None:
        spec = self._read[trigger] = self._redis_of(trigger)
        if spec not in self._loops:
            self._loops[spec] = PushLoop(spec, self._evaluator, self._pace)
            self._loops[spec].start()
        self._loops[spec].add(trigger)

    def _leave(self, trigger: PushedTrigger) -> None:
        """Look at a trigger no more; its loop ends with the last of its triggers."""
        spec = self._read.pop(trigger, None)
        loop = self._loops.get(spec)
        if loop is None or trigger not in loop.triggers:
            return  # close() came first
        loop.remove(trigger)
        if not loop.triggers:
            del self._loops[spec]
            closing = asyncio.create_task(loop.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _redis_of(self, trigger: PushedTrigger) -> ConnectionSpec | None:
        if trigger.scaled.measured is None:
            return None
        try:
            return self._evaluator.resolve_connection(trigger.owner, trigger.scaled)
        except ConfigurationError:
            return None
