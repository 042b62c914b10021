"""Checks the triggers of one Redis that have open streams: at rest when Redis reports a change, the others in turn."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

from listeners.connections.spec import ConnectionSpec
from listeners.errors import TriggerfishError
from listeners.runtime.logs import steady_logger
from listeners.runtime.tasks import cancel_until_done
from listeners.tracking.armed import Armed
from scaler.evaluation.evaluator import Evaluation, Evaluator
from scaler.push.subscribers import PushedTrigger

__all__ = ["PushLoop", "PushPace"]

log = steady_logger("triggerfish.scaler")

#: Triggers checked together: one round trip, and little of the event loop's time.
SLICE = 50
#: The interval without a Redis, where no state changes: checks only repeat the first `true` and record errors.
WITHOUT_REDIS_SECONDS = 1.0
#: How long a turn waits for its checks. One that takes longer goes on by itself, and is not started again meanwhile.
TURN_SECONDS = 0.1
#: The time within which each trigger at rest is verified, and how finely that is spread: a burst would delay those with
#: a change, and each wake-up costs as much as verifying twenty. With 10,000 triggers these are 36 at a time, two ms.
REST_SECONDS = 55.0
REST_TICK_SECONDS = 0.2
#: The minimum time between two checks that reports lead to, which bounds the cost of a busy key.
BUSY_SECONDS = 0.25
#: How long after a scheduled job has become due its trigger is checked: clocks have no more than milliseconds.
JOB_DUE_SECONDS = 0.002
#: The share of the command budget for checks out of turn, so that reports never starve the other triggers.
OUT_OF_TURN_SHARE = 0.5
#: How far these checks may be ahead of their share, so that a single one never waits, and how many may be in progress.
BURST_SECONDS = 0.01
MAX_CHECKS = 500
#: Closing a loop takes at most this long.
CLOSE_SECONDS = 5.0


@dataclass(frozen=True)
class PushPace:
    """How often to poll: every `interval_seconds`, but with at most `commands_per_second` for each Redis."""

    interval_seconds: float = 0.1
    commands_per_second: float = 20_000


class PushLoop:
    """Checks the triggers of one Redis; without a `spec`, those that read no Redis or have no usable connection now.

    Each Redis has its own loop, so one that hangs delays only its own triggers. A trigger is at rest while its Redis
    would report any change (client tracking). It is checked when there is one, and the others are polled.
    """

    def __init__(self, spec: ConnectionSpec | None, evaluator: Evaluator, pace: PushPace) -> None:
        self._spec = spec
        self._address = spec.address if spec is not None else "no Redis"
        self._evaluator = evaluator
        self._min_interval_seconds = pace.interval_seconds if spec is not None else WITHOUT_REDIS_SECONDS
        self._commands_per_second = pace.commands_per_second
        self.triggers: set[PushedTrigger] = set()
        #: Each in the order in which they are checked.
        self.polled: dict[PushedTrigger, None] = {}
        self._resting: OrderedDict[PushedTrigger, Armed] = OrderedDict()
        self._commands = 0
        self._paid_until = 0.0
        self._out_of_turn: dict[PushedTrigger, None] = {}
        self._checking: dict[PushedTrigger, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def interval_seconds(self) -> float:
        """The time between two checks of a polled trigger; longer than configured if they would exceed the budget."""
        return max(self._min_interval_seconds, self._commands / self._commands_per_second)

    def start(self) -> None:
        """Start checking."""
        work = {
            "checks in turn": self._check_in_turn(),
            "checks at rest": self._check_at_rest(),
            "checks out of turn": self._check_out_of_turn(),
        }
        self._tasks = [asyncio.create_task(one, name=f"{what}: {self._address}") for what, one in work.items()]

    async def close(self) -> None:
        """Stop checking."""
        for trigger in list(self.triggers):
            self.remove(trigger)
        await cancel_until_done([*self._tasks, *self._checking.values()], CLOSE_SECONDS)

    def add(self, trigger: PushedTrigger) -> None:
        """Add a trigger, and check it for the first time at once."""
        self.triggers.add(trigger)
        self._poll(trigger)
        self.check_soon(trigger)

    def remove(self, trigger: PushedTrigger) -> None:
        """Stop checking a trigger."""
        self._poll(trigger)
        del self.polled[trigger]
        self._commands -= trigger.commands
        self.triggers.remove(trigger)
        self._out_of_turn.pop(trigger, None)
        trigger.forget_check()
        self._evaluator.streams_ended(trigger.owner, trigger.scaled)

    def check_soon(self, trigger: PushedTrigger) -> None:
        """Check a trigger out of turn, since it is new or may have changed."""
        if trigger in self.triggers:
            self._out_of_turn[trigger] = None
            self._wake.set()

    async def _check_in_turn(self) -> None:
        """Check the polled triggers, slice by slice, spread over the interval: a burst would delay other requests."""
        while True:
            polled = list(self.polled)
            for triggers in _slices(polled):
                began = time.monotonic()
                await self._check_together([trigger for trigger in triggers if trigger in self.polled])
                share = len(triggers) / max(len(triggers), len(self.polled))
                await _sleep_until(max(began + self.interval_seconds * share, self._paid_until))
            if not polled:
                await asyncio.sleep(self._min_interval_seconds)

    async def _check_at_rest(self) -> None:
        """Verify each trigger at rest within REST_SECONDS, whenever the others come and go."""
        share = 0.0
        while True:
            await asyncio.sleep(REST_TICK_SECONDS)
            share += len(self._resting) * REST_TICK_SECONDS / REST_SECONDS
            triggers = list(islice(self._resting, int(share)))
            share -= int(share)
            for trigger in triggers:
                self._resting.move_to_end(trigger)
            for some in _slices(triggers):
                await self._verify(some)

    async def _verify(self, triggers: Sequence[PushedTrigger]) -> None:
        """Measure triggers at rest again, in one round trip. Those that it does not find unchanged are checked."""
        if self._spec is None:
            return
        found = await self._evaluator.verify(self._spec, [(trigger.owner, trigger.scaled) for trigger in triggers])
        changed = [
            trigger
            for trigger, armed in zip(triggers, found, strict=True)
            if armed is None or armed is not self._resting.get(trigger)
        ]
        await self._check_together(changed, fresh=True)

    async def _check_out_of_turn(self) -> None:
        """Check triggers that are new or have changed. None of them waits for another's check to end."""
        paid_until = 0.0
        while True:
            await self._wake.wait()
            self._wake.clear()
            triggers = list(islice((one for one in self._out_of_turn if one not in self._checking), SLICE))
            if not triggers:
                continue  # those that are being checked follow when they are done
            self._begin_checks(triggers, fresh=True)
            if self._out_of_turn:
                self._wake.set()
            commands = sum(trigger.commands for trigger in triggers)
            paid_until = max(paid_until, time.monotonic()) + commands / (self._commands_per_second * OUT_OF_TURN_SHARE)
            if paid_until - time.monotonic() > BURST_SECONDS:
                await _sleep_until(paid_until)
            while len(self._checking) >= MAX_CHECKS:
                await asyncio.wait(self._checking.values(), return_when=asyncio.FIRST_COMPLETED)

    async def _check_together(self, triggers: Iterable[PushedTrigger], *, fresh: bool = False) -> None:
        """Check some triggers concurrently, and wait for them, for at most TURN_SECONDS."""
        if checks := self._begin_checks(triggers, fresh=fresh):
            await asyncio.wait(checks, timeout=TURN_SECONDS)

    def _begin_checks(self, triggers: Iterable[PushedTrigger], *, fresh: bool) -> list[asyncio.Task[None]]:
        """Begin to check some triggers concurrently. The next turn waits until the budget has paid for them."""
        present = [trigger for trigger in triggers if trigger in self.triggers and trigger not in self._checking]
        commands = sum(trigger.commands for trigger in present)
        self._paid_until = max(self._paid_until, time.monotonic()) + commands / self._commands_per_second
        for trigger in present:
            self._checking[trigger] = asyncio.create_task(self._check(trigger, fresh), name=f"check: {self._address}")
        return [self._checking[trigger] for trigger in present]

    async def _check(self, trigger: PushedTrigger, fresh: bool) -> None:
        try:
            await self._evaluate(trigger, fresh)
        finally:
            del self._checking[trigger]
            if trigger in self._out_of_turn:  # it changed meanwhile
                self._wake.set()

    async def _evaluate(self, trigger: PushedTrigger, fresh: bool) -> None:
        fresh = fresh or trigger in self._out_of_turn
        self._out_of_turn.pop(trigger, None)
        evaluation: Evaluation | None = None
        try:
            evaluation = await self._evaluator.evaluate(
                trigger.owner, trigger.scaled, fresh=fresh, poll_seconds=self.interval_seconds
            )
        except TriggerfishError:
            pass  # unknown, so no change; the evaluator has recorded the error
        except Exception:  # one trigger must not end the loop for all
            log.exception("unexpected error while checking %s/%s", trigger.owner.namespace, trigger.owner.name)
        if trigger not in self.triggers:
            return
        if evaluation is not None:
            trigger.update(time.monotonic(), active=evaluation.active)
        if evaluation is None or evaluation.armed is None:
            self._poll(trigger)
        else:
            self._rest(trigger, evaluation.armed)
            if evaluation.next_due_at is not None:
                due = time.monotonic() + evaluation.next_due_at - time.time() + JOB_DUE_SECONDS
                trigger.check_at(due, partial(self.check_soon, trigger))

    def _rest(self, trigger: PushedTrigger, armed: Armed) -> None:
        """Let a trigger rest until a change is reported, or may get lost, or a stream is due a `true`."""
        if self._resting.get(trigger) is not armed:
            self._poll(trigger)
            del self.polled[trigger]
            self._commands -= trigger.commands
            self._resting[trigger] = armed
            trigger.on_change = partial(self._changed, trigger)
            armed.on_end(trigger.on_change)
        if (due := trigger.next_due(time.monotonic())) is not None:
            trigger.check_at(due, partial(self.check_soon, trigger))

    def _poll(self, trigger: PushedTrigger) -> None:
        """Poll a trigger from now on."""
        armed = self._resting.pop(trigger, None)
        if armed is not None and trigger.on_change is not None:
            armed.forget(trigger.on_change)
        if trigger not in self.polled:
            self.polled[trigger] = None
            self._commands += trigger.commands

    def _changed(self, trigger: PushedTrigger) -> None:
        """Check a trigger at once, unless another change has just led to a check."""
        now = time.monotonic()
        due = max(now, trigger.changed_at + BUSY_SECONDS)
        trigger.changed_at = due
        if due == now:
            self.check_soon(trigger)
        else:
            trigger.check_at(due, partial(self.check_soon, trigger))


def _slices(triggers: Sequence[PushedTrigger]) -> Iterator[Sequence[PushedTrigger]]:
    for start in range(0, len(triggers), SLICE):
        yield triggers[start : start + SLICE]


async def _sleep_until(when: float) -> None:
    await asyncio.sleep(max(0.0, when - time.monotonic()))
