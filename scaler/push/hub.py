"""Tracks the triggers with open streams, and runs one push loop for each Redis that they read."""

import asyncio
import time
from collections import Counter
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
    """Holds the triggers with open streams, and a loop for each Redis that at least one of them reads."""

    def __init__(self, evaluator: Evaluator, pace: PushPace) -> None:
        self._evaluator = evaluator
        self._pace = pace
        self._triggers: dict[tuple[Owner, ScaledTrigger], PushedTrigger] = {}
        #: Triggers that read no Redis, or whose connection cannot be resolved now, share the loop under None.
        self._loops: dict[ConnectionSpec | None, PushLoop] = {}
        self._specs: dict[PushedTrigger, ConnectionSpec | None] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    async def activations(self, owner: Owner, scaled: ScaledTrigger) -> AsyncIterator[None]:
        """Yield whenever KEDA should be sent `true` for the trigger; end when the hub stops. Inactivity is never
        reported: on `false`, older versions of KEDA scale to zero at once.
        """
        subscriber = Subscriber()
        trigger = self._subscribe(owner, scaled, subscriber)
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
                self._leave_loop(trigger)

    def connections_changed(self) -> None:
        """Move each trigger whose connection now leads to another Redis to the loop of that Redis."""
        for trigger, before in list(self._specs.items()):
            if self._resolve(trigger) != before:
                self._leave_loop(trigger)
                self._join_loop(trigger)

    def intervals_seconds(self) -> dict[str, float]:
        """Return how often the triggers of each connection are checked, by its name; see PushedTrigger.connection."""
        found: dict[str, float] = {}
        for spec, loop in self._loops.items():
            for name in {trigger.connection for trigger in loop.triggers} if spec is not None else ():
                found[name] = max(loop.interval_seconds, found.get(name, 0.0))
        return found

    def polled_triggers(self) -> dict[str, int]:
        """Return how many triggers of each connection are polled, by its name; see PushedTrigger.connection."""
        found: Counter[str] = Counter()
        for spec, loop in self._loops.items():
            if spec is not None:
                for trigger in loop.triggers:
                    found[trigger.connection] += trigger in loop.polled
        return found

    def stop(self) -> None:
        """End all streams normally."""
        self._stopping.set()
        for trigger in self._triggers.values():
            for subscriber in trigger.subscribers:
                subscriber.wake.set()

    async def close(self) -> None:
        """Close all loops."""
        self._specs.clear()
        loops, self._loops = self._loops, {}
        await asyncio.gather(*(loop.close() for loop in loops.values()), *self._closing)

    def _subscribe(self, owner: Owner, scaled: ScaledTrigger, subscriber: Subscriber) -> PushedTrigger:
        trigger = self._triggers.get((owner, scaled))
        if trigger is None:
            trigger = self._triggers[owner, scaled] = PushedTrigger(owner, scaled)
            self._join_loop(trigger)
        else:
            self._loops[self._specs[trigger]].check_soon(trigger)
        trigger.subscribers.add(subscriber)
        return trigger

    def _join_loop(self, trigger: PushedTrigger) -> None:
        spec = self._specs[trigger] = self._resolve(trigger)
        if spec not in self._loops:
            self._loops[spec] = PushLoop(spec, self._evaluator, self._pace)
            self._loops[spec].start()
        self._loops[spec].add(trigger)

    def _leave_loop(self, trigger: PushedTrigger) -> None:
        """Stop checking a trigger. The last trigger to leave a loop closes it."""
        spec = self._specs.pop(trigger, None)
        loop = self._loops.get(spec)
        if loop is None or trigger not in loop.triggers:
            return  # close() came first
        loop.remove(trigger)
        if not loop.triggers:
            del self._loops[spec]
            closing = asyncio.create_task(loop.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _resolve(self, trigger: PushedTrigger) -> ConnectionSpec | None:
        if trigger.scaled.measured is None:
            return None
        try:
            return self._evaluator.resolve_connection(trigger.owner, trigger.scaled)
        except ConfigurationError:
            return None
