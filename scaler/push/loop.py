"""Checks the triggers of one Redis that have open streams: all in turn, and those that may have changed out of turn."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from listeners.connections.spec import ConnectionSpec
from listeners.errors import TriggerfishError
from listeners.runtime.logs import steady_logger
from listeners.runtime.tasks import cancel_until_done
from scaler.evaluation.evaluator import Evaluator
from scaler.push.keyspace_listener import KeyspaceListener
from scaler.push.subscribers import PushedTrigger

__all__ = ["PushLoop", "PushPace"]

log = steady_logger("triggerfish.scaler")

#: Triggers checked together: one round trip, and little of the event loop's time.
SLICE = 50
#: The interval without a Redis, where no state changes: checks only repeat the first `true` and record errors.
WITHOUT_REDIS_SECONDS = 1.0
#: How long a turn waits for its checks. One that takes longer goes on by itself, and is not started again meanwhile.
TURN_SECONDS = 0.1
#: The share of the command budget for checks out of turn, so that notifications never starve the other triggers.
OUT_OF_TURN_SHARE = 0.5
#: Closing a loop takes at most this long.
CLOSE_SECONDS = 5.0


@dataclass(frozen=True)
class PushPace:
    """How often to check: every `interval_seconds`, but with at most `commands_per_second` for each Redis."""

    interval_seconds: float = 0.1
    commands_per_second: float = 20_000


class PushLoop:
    """Checks the triggers of one Redis; without a `spec`, those that read no Redis or have no usable connection now.

    Each Redis has its own loop, so one that hangs delays only its own triggers.
    """

    def __init__(self, spec: ConnectionSpec | None, evaluator: Evaluator, pace: PushPace) -> None:
        self._address = spec.address if spec is not None else "no Redis"
        self._evaluator = evaluator
        self._min_interval_seconds = pace.interval_seconds if spec is not None else WITHOUT_REDIS_SECONDS
        self._commands_per_second = pace.commands_per_second
        #: In the order in which they are checked.
        self.triggers: dict[PushedTrigger, None] = {}
        self._commands = 0
        self._paid_until = 0.0
        self._out_of_turn: dict[PushedTrigger, None] = {}
        self._checking: dict[PushedTrigger, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._listener: KeyspaceListener[PushedTrigger] | None = None
        # A Redis that a ScaledObject names by a connection string gets no connections beyond those for measuring.
        if spec is not None and spec.allowed_hosts is None:
            self._listener = KeyspaceListener(spec, self.check_soon)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def interval_seconds(self) -> float:
        """The time between two checks of a trigger; longer than configured if the checks would exceed the budget."""
        return max(self._min_interval_seconds, self._commands / self._commands_per_second)

    def start(self) -> None:
        """Start checking."""
        work = {"checks in turn": self._check_in_turn(), "checks out of turn": self._check_out_of_turn()}
        if self._listener is not None:
            work["keyspace notifications"] = self._listener.run()
        self._tasks = [asyncio.create_task(one, name=f"{what}: {self._address}") for what, one in work.items()]

    async def close(self) -> None:
        """Stop checking."""
        await cancel_until_done([*self._tasks, *self._checking.values()], CLOSE_SECONDS)

    def add(self, trigger: PushedTrigger) -> None:
        """Add a trigger, and check it for the first time at once."""
        self.triggers[trigger] = None
        self._commands += trigger.commands
        self.check_soon(trigger)

    def remove(self, trigger: PushedTrigger) -> None:
        """Stop checking a trigger."""
        del self.triggers[trigger]
        self._commands -= trigger.commands
        self._out_of_turn.pop(trigger, None)
        if self._listener is not None:
            self._listener.unwatch(trigger, trigger.keys)

    def check_soon(self, trigger: PushedTrigger) -> None:
        """Check a trigger out of turn, since it is new or may have changed."""
        self._out_of_turn[trigger] = None
        self._wake.set()

    async def _check_in_turn(self) -> None:
        """Check all triggers, slice by slice, spread over the interval: a burst would delay other requests."""
        while True:
            for triggers in _slices(list(self.triggers)):
                began = time.monotonic()
                await self._check_together(triggers)
                share = len(triggers) / max(len(triggers), len(self.triggers))
                await _sleep_until(max(began + self.interval_seconds * share, self._paid_until))
            if not self.triggers:
                await asyncio.sleep(self._min_interval_seconds)

    async def _check_out_of_turn(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            began = time.monotonic()
            triggers = list(islice((one for one in self._out_of_turn if one not in self._checking), SLICE))
            if not triggers:
                continue  # those that are being checked follow when they are done
            await self._check_together(triggers)
            if self._out_of_turn:
                self._wake.set()
            commands = sum(trigger.commands for trigger in triggers)
            await _sleep_until(began + commands / (self._commands_per_second * OUT_OF_TURN_SHARE))

    async def _check_together(self, triggers: Iterable[PushedTrigger]) -> None:
        """Check some triggers concurrently. The next turn waits until the budget has paid for them."""
        present = [trigger for trigger in triggers if trigger in self.triggers and trigger not in self._checking]
        commands = sum(trigger.commands for trigger in present)
        self._paid_until = max(self._paid_until, time.monotonic()) + commands / self._commands_per_second
        for trigger in present:
            self._checking[trigger] = asyncio.create_task(self._check(trigger), name=f"check: {self._address}")
        if present:
            await asyncio.wait([self._checking[trigger] for trigger in present], timeout=TURN_SECONDS)

    async def _check(self, trigger: PushedTrigger) -> None:
        try:
            await self._evaluate(trigger)
        finally:
            del self._checking[trigger]
            if trigger in self._out_of_turn:  # it changed meanwhile
                self._wake.set()

    async def _evaluate(self, trigger: PushedTrigger) -> None:
        out_of_turn = trigger in self._out_of_turn
        self._out_of_turn.pop(trigger, None)
        try:
            evaluation = await self._evaluator.evaluate(trigger.owner, trigger.scaled, fresh=out_of_turn)
        except TriggerfishError:
            return  # unknown, so no change; the evaluator has recorded the error
        except Exception:
            name = f"{trigger.owner.namespace}/{trigger.owner.name}"
            log.exception("unexpected error while checking %s", name)
            return  # one trigger must not end the loop for all
        trigger.update(time.monotonic(), active=evaluation.active)
        if self._listener is None or trigger not in self.triggers:
            return
        if evaluation.active:
            self._listener.unwatch(trigger, trigger.keys)
        else:
            self._listener.watch(trigger, trigger.keys)


def _slices(triggers: Sequence[PushedTrigger]) -> Iterator[Sequence[PushedTrigger]]:
    for start in range(0, len(triggers), SLICE):
        yield triggers[start : start + SLICE]


async def _sleep_until(when: float) -> None:
    await asyncio.sleep(max(0.0, when - time.monotonic()))
