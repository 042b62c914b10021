"""Keeps samples while Redis would report any change of what they were measured from."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from listeners.functions.triggers import ListTrigger
from listeners.keys import dead_letters_key, inflight_key
from listeners.redis.client import Client
from listeners.redis.server_info import ServerInfo
from listeners.tracking.armed import Armed
from listeners.tracking.watch import Watch
from scaler.measuring.backlog import Backlog, KeyBacklog
from scaler.queues.trigger import QueueTrigger
from scaler.triggers.measured_trigger import MeasuredTrigger

__all__ = ["WatchedSample", "WatchedSamples"]

#: A sample is measured again after this time even if no change was reported, so that none is older than a minute.
VERIFY_SECONDS = 50.0
#: What consumers do with a stream is not reported, so that the sample of one with a backlog is used for a short time.
STREAM_SECONDS = 0.25
#: The maximum number of triggers. Beyond it, the one that was armed the longest time ago is forgotten.
MAX_TRIGGERS = 20_000


@dataclass(frozen=True)
class WatchedSample:
    """A backlog, when it was measured (time.monotonic), and the keys that were armed before."""

    backlog: Backlog
    measured_at: float
    armed: Armed

    @property
    def taken_at(self) -> float:
        """When it was last found to be true."""
        return max(self.measured_at, self.armed.verified_at)

    @cached_property
    def rests(self) -> bool:
        """Whether nothing but time can change it without a report. A stream's group can change, unless it has nothing
        to do.
        """
        if self.backlog.unsettled or self.backlog.changes_unseen:
            return False
        return self.backlog.is_list or self.backlog.entries == 0

    @property
    def is_at_rest(self) -> bool:
        """Whether it rests, and no report has come or may have been lost."""
        return self.rests and self.armed.proved_at is not None


class WatchedSamples:
    """The last samples of the triggers of one Redis, and their armed keys. There are none without client tracking.

    `on_untold` is called when Redis has not reported a change; tracking is not used if it is None.
    """

    def __init__(self, client: Client, address: str, on_untold: Callable[[], object] | None) -> None:
        self._watch = Watch(client, address, on_untold) if on_untold is not None else None
        self._armed: OrderedDict[MeasuredTrigger, Armed] = OrderedDict()
        self._samples: dict[MeasuredTrigger, WatchedSample] = {}
        self._judging: asyncio.Task[None] | None = None

    def find(self, trigger: MeasuredTrigger) -> WatchedSample | None:
        """Return the last sample if it is still true."""
        sample = self._samples.get(trigger)
        if sample is None or sample.armed.proved_at is None:
            return None
        due_at = sample.backlog.next_due_at
        if due_at is not None and due_at <= time.time():
            return None
        max_age_seconds = VERIFY_SECONDS if sample.rests else STREAM_SECONDS
        return sample if time.monotonic() - sample.taken_at < max_age_seconds else None

    def armed_since(self, trigger: MeasuredTrigger) -> float | None:
        """Return since when no change of a trigger's keys was reported; None if it is not known."""
        armed = self._armed.get(trigger)
        return armed.since if armed is not None and armed.proved_at is not None else None

    def idle_lists(self, triggers: Iterable[MeasuredTrigger]) -> set[MeasuredTrigger]:
        """Return the list triggers whose keys did not exist and are still armed."""
        found = ((trigger, self._samples.get(trigger)) for trigger in triggers)
        return {
            trigger
            for trigger, sample in found
            if sample is not None
            and isinstance(trigger.trigger, ListTrigger)
            and not sample.backlog.entries
            and not sample.armed.ended
        }

    async def arm(
        self, triggers: Iterable[MeasuredTrigger], server: ServerInfo | None
    ) -> Mapping[MeasuredTrigger, Armed]:
        """Arm the keys of triggers that are to be measured, so that every later change is reported. Never raises
        SourceError.
        """
        if self._watch is None or server is None or not _has_tracking(server):
            return {}
        known = {trigger: self._armed.get(trigger) for trigger in triggers}
        missing = [trigger for trigger, armed in known.items() if armed is None or armed.ended]
        found = await self._watch.arm([_keys(trigger) for trigger in missing])
        known.update(zip(missing, found, strict=True))
        for trigger, armed in zip(missing, found, strict=True):
            self._samples.pop(trigger, None)
            if armed is not None:
                self._armed[trigger] = armed
                self._armed.move_to_end(trigger)
        while len(self._armed) > MAX_TRIGGERS:
            trigger, oldest = self._armed.popitem(last=False)
            self._samples.pop(trigger, None)
            self._watch.release(oldest)
        return {trigger: armed for trigger, armed in known.items() if armed is not None}

    def keep(self, trigger: MeasuredTrigger, armed: Armed | None, backlog: Backlog, taken_at: float) -> Armed | None:
        """Keep a sample if it was measured after its keys were armed. Return these if it need not be polled now."""
        before = self._samples.pop(trigger, None)
        if armed is None or armed.ended or taken_at < armed.since or self._watch is None:
            return None
        if before is not None and before.armed is armed and _changed(before.backlog, backlog):
            if self._judging is None or self._judging.done():
                self._judging = asyncio.create_task(self._watch.judge(armed), name="judging tracking")
            return None
        self._samples[trigger] = WatchedSample(backlog, taken_at, armed)
        found = self.find(trigger)
        return armed if found is not None and found.rests else None

    def why_polled(self, trigger: MeasuredTrigger, server: ServerInfo | None) -> str:
        """Return why a trigger is not at rest."""
        armed = self._armed.get(trigger)
        if self._watch is None:
            return "a ScaledObject's connection string gets no connection for reports of changes"
        if not _has_tracking(server):
            return f"{server} has no client tracking"
        if armed is None or self._watch.reason:
            return self._watch.reason or "one of its keys may not be read by EXISTS, or is moving"
        if armed.ended or armed.proved_at is None:
            return "Redis has just reported a change" if armed.ended else "Redis has not yet reported any change"
        if isinstance(trigger.trigger, QueueTrigger):
            return "its workers change keys that are not known before, or its last jobs are on their way to another key"
        return "Redis does not report what consumers do with a stream"

    def backlogs_at_rest(self, triggers: Iterable[MeasuredTrigger]) -> dict[MeasuredTrigger, Backlog]:
        """Return the backlogs of those of the triggers that are at rest."""
        found = ((trigger, self._samples.get(trigger)) for trigger in triggers)
        return {trigger: sample.backlog for trigger, sample in found if sample is not None and sample.is_at_rest}

    def verified(self, trigger: MeasuredTrigger, backlog: Backlog, at: float) -> WatchedSample | None:
        """Record that a trigger had the backlog of its sample at this time. Return the sample if it still rests."""
        sample = self._samples.get(trigger)
        if sample is None or sample.backlog is not backlog or not sample.is_at_rest:
            return None
        sample.armed.verified_at = at
        return sample

    def changed(self, triggers: Iterable[MeasuredTrigger]) -> None:
        """Record that triggers may have changed, for another reason than a report of Redis."""
        for trigger in triggers:
            if self._watch is not None and (armed := self._armed.get(trigger)) is not None:
                self._watch.release(armed)

    def drop(self, trigger: MeasuredTrigger) -> None:
        """Forget the sample of a trigger that could not be measured now."""
        self._samples.pop(trigger, None)

    async def close(self) -> None:
        """Stop watching."""
        if self._judging is not None:
            self._judging.cancel()
        if self._watch is not None:
            await self._watch.close()


def _has_tracking(server: ServerInfo | None) -> bool:
    """Return whether a server has client tracking, or may have it."""
    return server is None or server.version == (0,) or server.supports(6)


def _keys(trigger: MeasuredTrigger) -> tuple[str, ...]:
    """Return the keys whose changes matter: those that are measured, and dead letters."""
    keys = trigger.trigger.keys
    if isinstance(trigger.trigger, QueueTrigger):
        return keys
    in_flight = map(inflight_key, keys) if isinstance(trigger.trigger, ListTrigger) else ()
    return (*keys, *in_flight, *map(dead_letters_key, keys))


def _changed(before: Backlog, after: Backlog) -> bool:
    """Return whether a backlog differs in what Redis reports: not in what a group has done, or time has."""
    return [_reported(key) for key in before.keys] != [_reported(key) for key in after.keys]


def _reported(key: KeyBacklog) -> tuple[int, ...]:
    if key.jobs is None:
        return key.length, key.in_flight
    return key.length + key.jobs.due + key.jobs.scheduled, key.in_flight, key.jobs.paused
