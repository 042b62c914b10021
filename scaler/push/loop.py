"""Looks at the triggers of one Redis that have open streams: all in turn, and at once those with news."""

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from listeners.connections.spec import ConnectionSpec
from listeners.errors import TriggerfishError
from listeners.runtime.tasks import cancel_until_done
from scaler.evaluation.evaluator import Evaluator
from scaler.push.keyspace_listener import KeyspaceListener
from scaler.push.subscribers import PushedTrigger

__all__ = ["PushLoop", "PushPace"]

log = logging.getLogger("triggerfish.scaler")

#: Triggers looked at together: one round trip, and not much of the event loop's time.
SLICE = 50
#: Without a Redis nothing changes by itself; looking keeps the first `true` repeated and errors told.
WITHOUT_REDIS_SECONDS = 1.0
#: Of the budget, what looks out of turn may use: the others must get their turn whatever Redis tells.
OUT_OF_TURN_SHARE = 0.5
#: The longest that ending a loop takes.
CLOSE_SECONDS = 5.0


@dataclass(frozen=True)
class PushPace:
    """How often to look: every `interval_seconds`, but no more than `commands_per_second` for each Redis."""

    interval_seconds: float = 0.1
    commands_per_second: float = 20_000


class PushLoop:
    """Looks at the triggers of one Redis; without a `spec` at those that need none, or have none now.

    Another Redis has another loop: one that hangs delays nothing but its own triggers.
    """

    def __init__(self, spec: ConnectionSpec | None, evaluator: Evaluator, pace: PushPace) -> None:
        self._where = spec.address if spec is not None else "no Redis"
        self._evaluator = evaluator
        self._least_seconds = pace.interval_seconds if spec is not None else WITHOUT_REDIS_SECONDS
        self._commands_per_second = pace.commands_per_second
        #: In the order of their turns.
        self.triggers: dict[PushedTrigger, None] = {}
        self._commands = 0
        self._paid_until = 0.0
        self._out_of_turn: dict[PushedTrigger, None] = {}
        self._called = asyncio.Event()
        # A Redis that a ScaledObject names by a string gets no more connections than measuring needs.
        own = spec is not None and spec.allowed_hosts is None
        self._events = KeyspaceListener[PushedTrigger](spec, self.check_soon) if spec is not None and own else None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def interval_seconds(self) -> float:
        """The time from one look at a trigger to the next: longer than is set if the looks would cost too much."""
        return max(self._least_seconds, self._commands / self._commands_per_second)

    def start(self) -> None:
        """Begin to look."""
        work = {"looking in turn at": self._look_in_turn(), "looking out of turn at": self._look_out_of_turn()}
        if self._events is not None:
            work["listening for changes at"] = self._events.run()
        self._tasks = [asyncio.create_task(one, name=f"{what} {self._where}") for what, one in work.items()]

    async def close(self) -> None:
        """Stop looking."""
        await cancel_until_done(self._tasks, CLOSE_SECONDS)

    def add(self, trigger: PushedTrigger) -> None:
        """Look at a trigger too, at once for the first time."""
        self.triggers[trigger] = None
        self._commands += trigger.commands
        self.check_soon(trigger)

    def remove(self, trigger: PushedTrigger) -> None:
        """Look at a trigger no more."""
        del self.triggers[trigger]
        self._commands -= trigger.commands
        self._out_of_turn.pop(trigger, None)
        if self._events is not None:
            self._events.unwatch(trigger, trigger.keys)

    def check_soon(self, trigger: PushedTrigger) -> None:
        """There is news of a trigger: look at it out of turn."""
        self._out_of_turn[trigger] = None
        self._called.set()

    async def _look_in_turn(self) -> None:
        """Look at all triggers, slice by slice, spread over the interval: a burst would hold up whoever else asks."""
        while True:
            for part in _slices(list(self.triggers)):
                began = time.monotonic()
                await self._look_at(part)
                share = len(part) / max(len(part), len(self.triggers))
                await _sleep_until(max(began + self.interval_seconds * share, self._paid_until))
            if not self.triggers:
                await asyncio.sleep(self._least_seconds)

    async def _look_out_of_turn(self) -> None:
        while True:
            await self._called.wait()
            began = time.monotonic()
            part = list(islice(self._out_of_turn, SLICE))
            await self._look_at(part)
            if not self._out_of_turn:
                self._called.clear()
            commands = sum(trigger.commands for trigger in part)
            await _sleep_until(began + commands / (self._commands_per_second * OUT_OF_TURN_SHARE))

    async def _look_at(self, triggers: Iterable[PushedTrigger]) -> None:
        """Look at some triggers together; the budget has to pay for them before the next turn."""
        present = [trigger for trigger in triggers if trigger in self.triggers]
        commands = sum(trigger.commands for trigger in present)
        self._paid_until = max(self._paid_until, time.monotonic()) + commands / self._commands_per_second
        await asyncio.gather(*map(self._look, present))

    async def _look(self, trigger: PushedTrigger) -> None:
        has_news = trigger in self._out_of_turn
        self._out_of_turn.pop(trigger, None)
        try:
            evaluation = await self._evaluator.evaluate(trigger.owner, trigger.scaled, fresh=has_news)
        except TriggerfishError:
            return  # not known: no change; the evaluation has counted the error
        except Exception:
            name = f"{trigger.owner.namespace}/{trigger.owner.name}"
            log.exception("looking at %s failed in a way that was not foreseen", name)
            return  # one trigger's trouble must not end the loop of all
        trigger.update(time.monotonic(), active=evaluation.active)
        if self._events is None or trigger not in self.triggers:
            return
        if evaluation.active:
            self._events.unwatch(trigger, trigger.keys)
        else:
            self._events.watch(trigger, trigger.keys)


def _slices(triggers: Sequence[PushedTrigger]) -> Iterator[Sequence[PushedTrigger]]:
    for start in range(0, len(triggers), SLICE):
        yield triggers[start : start + SLICE]


async def _sleep_until(when: float) -> None:
    await asyncio.sleep(max(0.0, when - time.monotonic()))
