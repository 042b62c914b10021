"""How many tasks Celery's workers run, by their heartbeats. With early acknowledgement, they are in no key.

Each worker publishes a heartbeat every two seconds, with the number of tasks that it is executing.
"""

import asyncio
import base64
import binascii
import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from listeners.errors import CommandRefusedError, SourceError
from listeners.redis.client import Client
from listeners.redis.subscriptions.shared import SharedSubscriptions
from listeners.redis.subscriptions.subscription import Message, Subscription
from listeners.runtime.backoff import Backoff
from listeners.runtime.logs import steady_logger
from listeners.runtime.tasks import cancel_until_done
from listeners.text import printable
from scaler.measuring.backlog import KeyBacklog, KeySample
from scaler.measuring.queues.rights import of_trigger
from scaler.measuring.slow_lane import KeyResult
from scaler.queues.celery import CeleryQueue
from scaler.triggers.measured_trigger import MeasuredTrigger

__all__ = ["Heartbeats"]

log = steady_logger("triggerfish.scaler")

#: How long a worker's last heartbeat is believed: five of its intervals.
BELIEVED_SECONDS = 10.0
#: How long after the last request the scaler stops listening.
IDLE_SECONDS = 600.0
CHECK_SECONDS = 1.0
#: How long the scaler listens before it knows how many tasks run: an interval of heartbeats, and half a second more.
FIRST_SECONDS = 2.5
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.25, 5.0
#: A longer message is no heartbeat. With more busy workers than this, what they run is not known.
MAX_MESSAGE_BYTES = 16 * 1024
MAX_WORKERS = 10_000
MAX_NAME_CHARACTERS = 255
MAX_TASKS = 1_000_000
CLOSE_SECONDS = 2.0


@dataclass
class _Channel:
    """The busy workers whose heartbeats arrive on a channel: when the last one came, and how many tasks it told of.

    `tried`: the first attempt to subscribe has ended. `measured`: the triggers that were measured since a change.
    """

    name: str
    used_at: float
    workers: dict[str, tuple[float, int]] = field(default_factory=dict)
    #: When the last heartbeat came, and when a busy worker was last forgotten because there were too many.
    heard_at: float = -math.inf
    forgot_at: float = -math.inf
    #: From when on all workers have been heard, as the subscription is older than an interval of heartbeats.
    known_at: float = 0.0
    #: Why heartbeats cannot be heard now; None if they can.
    error: SourceError | None = None
    task: asyncio.Task[None] | None = None
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    measured: set[MeasuredTrigger] = field(default_factory=set)
    warned: bool = False

    def running(self, pattern: str) -> int:
        """Return how many tasks the workers run whose names match."""
        since = time.monotonic() - BELIEVED_SECONDS
        return sum(tasks for name, (at, tasks) in self.workers.items() if at > since and fnmatchcase(name, pattern))

    @property
    def is_silent(self) -> bool:
        """Whether no worker has been heard lately."""
        return time.monotonic() - self.heard_at >= BELIEVED_SECONDS

    def record(self, name: str, tasks: int) -> bool:
        """Record a heartbeat, and return whether it changes what a worker runs. Idle workers are not kept, so that no
        number of them displaces a busy one.
        """
        self.heard_at = time.monotonic()
        before = self.workers.pop(name, (0.0, 0))[1]
        if tasks:
            self.workers[name] = self.heard_at, tasks
        if len(self.workers) > MAX_WORKERS:
            at, _ = self.workers.pop(next(iter(self.workers)))
            if self.heard_at - at < BELIEVED_SECONDS:
                self.forgot_at = self.heard_at
        return tasks != before


class Heartbeats:
    """Listens to the workers of one Redis, from the first request for them on.

    `on_change` is called with triggers for whose workers a number of running tasks has changed.
    """

    def __init__(self, client: Client, database: int, on_change: Callable[[Iterable[MeasuredTrigger]], object]) -> None:
        self._subscriptions = SharedSubscriptions(client)
        self._database = database
        self._on_change = on_change
        self._channels: dict[str, _Channel] = {}

    def channel_of(self, trigger: CeleryQueue) -> str:
        """Return the channel of the heartbeats of a trigger's workers."""
        return f"{trigger.global_keyprefix}/{self._database}.celeryev/worker.heartbeat"

    def measure(
        self, measured: MeasuredTrigger, trigger: CeleryQueue, *, holds_messages: bool
    ) -> "KeyResult | asyncio.Future[KeyResult]":
        """Return the tasks that a trigger's workers run. `holds_messages`: its workers hold some, so that there are
        workers.
        """
        name = self.channel_of(trigger)
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = _Channel(name, time.monotonic())
            channel.task = asyncio.create_task(self._listen(channel), name=f"heartbeats on {name}")
        channel.used_at = time.monotonic()
        channel.measured.add(measured)
        if not channel.tried.is_set() or channel.error is not None or time.monotonic() < channel.known_at:
            # Not a result of the round of commands, as what the subscription lacks, other triggers may have.
            return asyncio.ensure_future(self._once_known(channel, trigger))
        if holds_messages and channel.is_silent and not channel.warned:
            channel.warned = True
            log.warning(
                "%s: workers hold messages, but send no heartbeats on channel %s, so running tasks do not count. "
                "Use acks_late and acksLate, or start workers without --without-heartbeat and -P solo",
                printable(trigger.reads), printable(name),
            )  # fmt: skip
        return _running(channel, trigger)

    async def close(self) -> None:
        """Stop listening."""
        tasks = [channel.task for channel in self._channels.values() if channel.task is not None]
        await cancel_until_done(tasks, CLOSE_SECONDS)
        await self._subscriptions.aclose()

    async def _once_known(self, channel: _Channel, trigger: CeleryQueue) -> "KeyResult":
        await channel.tried.wait()
        if channel.error is None and (missing_seconds := channel.known_at - time.monotonic()) > 0:
            await asyncio.sleep(missing_seconds)
            return await self._once_known(channel, trigger)  # there may be a newer subscription
        return _running(channel, trigger)

    async def _listen(self, channel: _Channel) -> None:
        """Keep a subscription until there was no request for a while."""
        backoff = Backoff(FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS)
        try:
            while time.monotonic() - channel.used_at < IDLE_SECONDS:
                try:
                    await self._hear(channel, backoff)
                except SourceError as error:
                    channel.error = error
                    channel.tried.set()
                    await asyncio.sleep(backoff.pause_seconds())
        finally:
            channel.tried.set()
            if self._channels.get(channel.name) is channel:
                del self._channels[channel.name]

    async def _hear(self, channel: _Channel, backoff: Backoff) -> None:
        subscription: Subscription | None = None
        ended = asyncio.Event()
        try:
            subscription = await self._subscriptions.open(
                channel.name, lambda message: self._receive(channel, message), ended.set
            )
            await subscription.add(channel.name)
            channel.error = None
            channel.known_at = time.monotonic() + FIRST_SECONDS
            channel.tried.set()
            backoff.reset()
            while time.monotonic() - channel.used_at < IDLE_SECONDS:
                await subscription.wait_for(ended, CHECK_SECONDS)
                subscription.raise_if_ended()
                await subscription.check_alive(CHECK_SECONDS)
        finally:
            if subscription is not None:
                await subscription.close()

    def _receive(self, channel: _Channel, message: Message) -> bool:
        found = _heartbeat(message.data)
        if found is not None and channel.record(*found):
            triggers, channel.measured = channel.measured, set()
            self._on_change(triggers)
        return False


def _running(channel: _Channel, trigger: CeleryQueue) -> KeyResult:
    if channel.error is not None:
        return of_trigger(printable(trigger.reads, MAX_NAME_CHARACTERS), channel.error)
    if time.monotonic() - channel.forgot_at < BELIEVED_SECONDS:
        return CommandRefusedError(
            f"measuring {trigger.reads}: more than {MAX_WORKERS:,} busy workers send heartbeats on channel "
            f"{channel.name}, so it is not known how many tasks run. Use acks_late and acksLate"
        )
    return KeySample(KeyBacklog("worker heartbeats", 0, channel.running(trigger.workers)), time.monotonic())


def _heartbeat(data: bytes) -> tuple[str, int] | None:
    """Return the name of a worker and how many tasks it runs; None for what is no heartbeat."""
    if len(data) > MAX_MESSAGE_BYTES:
        return None
    try:
        event: Any = json.loads(base64.b64decode(json.loads(data)["body"], validate=True))
    except (ValueError, TypeError, LookupError, RecursionError, binascii.Error):
        return None
    match event:
        case {"hostname": str(name), "active": int(tasks)} if 0 <= tasks <= MAX_TASKS:
            return name[:MAX_NAME_CHARACTERS], int(tasks)
        case _:
            return None
