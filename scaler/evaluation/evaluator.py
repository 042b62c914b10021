"""Evaluates triggers: computes the target and the activity from a sample of the backlog."""

import sys
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from listeners.connections.spec import ConnectionSpec
from listeners.errors import SourceError, TriggerfishError
from listeners.functions.triggers import PubSubTrigger
from listeners.tracking.armed import Armed
from scaler.access.access import Access
from scaler.evaluation.history import History
from scaler.evaluation.target import PUBSUB_TARGET, instances_for
from scaler.measuring.backlog import Backlog
from scaler.measuring.dead_letters import DeadLetterCount
from scaler.measuring.sampler import Sample
from scaler.measuring.samplers import Samplers
from scaler.queues.names import unknown_queues
from scaler.queues.trigger import QueueTrigger
from scaler.triggers.metadata import ScaledTrigger
from scaler.triggers.owner import Owner

__all__ = ["Evaluation", "Evaluator", "TrackedTrigger"]

#: The maximum number of tracked triggers, and how long after its last request a trigger is dropped.
MAX_TRACKED = 10_000
FORGET_SECONDS = 600.0
#: The maximum size of all tracked triggers, and what one of them and each of its keys take besides their texts.
MAX_TRACKED_BYTES = 48 * 1024 * 1024
TRACKED_BYTES, KEY_BYTES = 3_500, 300
#: How many copies of a trigger's texts there are: its own, and that of its last backlog.
COPIES = 2
#: The maximum length of an error message that is kept.
MAX_ERROR_CHARACTERS = 500


@dataclass(frozen=True)
class Evaluation:
    """The state of a trigger at one moment. Pub/sub has no backlog, and its target is always one instance.

    `armed`: Redis will report any change of the backlog; None if it has to be polled. `watched` describes which, and
    why, for people.
    """

    target: int
    active: bool
    backlog: Backlog | None
    taken_at: float
    dead_letters: DeadLetterCount | None = None
    armed: Armed | None = None
    watched: str = ""

    @property
    def next_due_at(self) -> float | None:
        """When the next scheduled job is due (Unix time), if there is one."""
        return self.backlog.next_due_at if self.backlog is not None else None

    @property
    def age_seconds(self) -> float:
        """For how long it is not known that the sample that it is based on is still true. That of a list was true at
        the last proof of its Redis.
        """
        true_at = self.taken_at
        if self.armed is not None:
            true_at = max(true_at, self.armed.verified_at)
            if self.backlog is not None and self.backlog.is_list:
                true_at = max(true_at, self.armed.proved_at or true_at)
        return time.monotonic() - true_at


@dataclass
class TrackedTrigger:
    """A trigger that has been requested, and its last known state."""

    owner: Owner
    scaled: ScaledTrigger
    requested_at: float = field(default_factory=time.monotonic)
    last: Evaluation | None = None
    #: Why the last evaluation failed, if it did: a short stable word, and a message.
    reason: str | None = None
    error: str | None = None
    #: How often its open streams have it polled, if it has to be; None without streams.
    poll_seconds: float | None = None
    history: History = field(default_factory=History)

    @property
    def size(self) -> int:
        """About how many bytes it takes in memory."""
        trigger = self.scaled.trigger
        texts = [self.owner.namespace, self.owner.name, self.scaled.function, self.scaled.app, trigger.reads]
        keys = 0 if isinstance(trigger, PubSubTrigger) else len(trigger.keys)
        return TRACKED_BYTES + KEY_BYTES * keys + COPIES * sum(map(sys.getsizeof, texts))

    @property
    def known(self) -> bool:
        """Whether the last evaluation succeeded."""
        return self.last is not None and self.reason is None

    def record(self, evaluation: Evaluation) -> None:
        """Record a successful evaluation."""
        self.last, self.reason, self.error = evaluation, None, None
        if evaluation.backlog is not None:
            self.history.add(time.monotonic(), evaluation.backlog.entries)

    def record_failure(self, error: TriggerfishError) -> None:
        """Record that the trigger could not be evaluated."""
        self.reason = error.reason if isinstance(error, SourceError) else "configuration"
        self.error = str(error)[:MAX_ERROR_CHARACTERS]
        self.history.add(time.monotonic(), None)


class Evaluator:
    """Evaluates triggers, and tracks those that are requested, so that metrics and pages can show them."""

    def __init__(self, access: Access, samplers: Samplers) -> None:
        self._access = access
        self._samplers = samplers
        self._tracked: OrderedDict[tuple[Owner, str], TrackedTrigger] = OrderedDict()
        #: The size of the tracked triggers of each namespace, and of all.
        self._sizes: Counter[str] = Counter()
        self._size = 0

    async def evaluate(
        self, owner: Owner, scaled: ScaledTrigger, *, fresh: bool = False, poll_seconds: float | None = None
    ) -> Evaluation:
        """Evaluate a trigger now. With `fresh`, it is measured now. `poll_seconds`: how often its open streams would
        have it polled.

        Raises ConfigurationError, or SourceError if the backlog is unknown, which is never reported as 0.
        """
        tracked = self.track(owner, scaled)
        tracked.poll_seconds = poll_seconds or tracked.poll_seconds
        try:
            evaluation = await self._evaluate(owner, scaled, fresh, tracked)
        except TriggerfishError as error:
            tracked.record_failure(error)
            raise
        tracked.record(evaluation)
        return evaluation

    async def verify(self, spec: ConnectionSpec, triggers: Sequence[tuple[Owner, ScaledTrigger]]) -> list[Armed | None]:
        """Measure triggers of one Redis that are at rest again, together. Return the armed keys of each that still is,
        with the same backlog; the others are to be evaluated.
        """
        samples = await self._samplers.verify(spec, [scaled.measured for _, scaled in triggers if scaled.measured])
        found = [samples.get(scaled.measured) if scaled.measured else None for _, scaled in triggers]
        return [
            sample.armed if sample and self._record_verified((owner, scaled.metric_name), sample) else None
            for (owner, scaled), sample in zip(triggers, found, strict=True)
        ]

    async def doubt(self, owner: Owner, scaled: ScaledTrigger) -> str | None:
        """Return a sentence about queues of a trigger that has been evaluated if no key of them exists, as if their
        names were misspelt; else None.
        """
        tracked, trigger = self.find(owner, scaled.metric_name), scaled.trigger
        last = tracked.last if tracked is not None and tracked.known else None
        if not isinstance(trigger, QueueTrigger) or last is None or last.backlog is None:
            return None
        empty = [key.key for key in last.backlog.keys if key.key in trigger.queue and key.is_empty]
        if not empty or last.backlog.entries > 0:
            return None
        limited = self._access.limits_keys(trigger, None if owner.declared else owner.namespace)
        names = None if limited else await self._samplers.queue_names(self.resolve_connection(owner, scaled), trigger)
        return unknown_queues(trigger, empty, names)

    def resolve_connection(self, owner: Owner, scaled: ScaledTrigger) -> ConnectionSpec:
        """Return the Redis that a trigger reads. Raises ConfigurationError if its owner may not use it."""
        # The operator's triggers may use every connection.
        return self._access.resolve(scaled.trigger, None if owner.declared else owner.namespace)

    def track(self, owner: Owner, scaled: ScaledTrigger) -> TrackedTrigger:
        """Record that a trigger was requested. Triggers without a request for FORGET_SECONDS are dropped."""
        identity = (owner, scaled.metric_name)
        tracked = self._tracked.get(identity)
        if tracked is None:
            tracked = self._tracked[identity] = TrackedTrigger(owner, scaled)
            self._count(owner, tracked.size)
        elif tracked.scaled != scaled:
            self._count(owner, -tracked.size)
            tracked.scaled = scaled
            self._count(owner, tracked.size)
        tracked.requested_at = time.monotonic()
        self._tracked.move_to_end(identity)
        self._drop_old()
        return tracked

    def forget(self, owner: Owner, scaled: ScaledTrigger) -> None:
        """Track a trigger no more."""
        if (owner, scaled.metric_name) in self._tracked:
            self._drop((owner, scaled.metric_name))

    def find(self, owner: Owner, metric_name: str) -> TrackedTrigger | None:
        """Return the trigger if it is tracked, else None."""
        self._drop_old()
        return self._tracked.get((owner, metric_name))

    def tracked(self) -> Iterator[TrackedTrigger]:
        """Iterate over the tracked triggers in a stable order."""
        self._drop_old()
        ordered = sorted(
            self._tracked.values(), key=lambda one: (one.owner.namespace, one.owner.name, one.scaled.metric_name)
        )
        return iter(ordered)

    def streams_ended(self, owner: Owner, scaled: ScaledTrigger) -> None:
        """Record that a trigger has no open stream any more, and is measured when it is requested."""
        tracked = self._tracked.get((owner, scaled.metric_name))
        if tracked is not None:
            tracked.poll_seconds = None

    async def _evaluate(self, owner: Owner, scaled: ScaledTrigger, fresh: bool, tracked: TrackedTrigger) -> Evaluation:
        spec = self.resolve_connection(owner, scaled)
        measured = scaled.measured
        if measured is None:
            return Evaluation(PUBSUB_TARGET, active=True, backlog=None, taken_at=time.monotonic())
        sample = await self._samplers.sample(spec, measured, fresh=fresh)
        return _evaluation_of(scaled, sample, tracked.poll_seconds)

    def _record_verified(self, identity: tuple[Owner, str], sample: Sample) -> bool:
        """Record that a sample was verified. Return whether that is what is known of its trigger, if it is tracked."""
        tracked = self._tracked.get(identity)
        if tracked is None:  # there are more triggers than are tracked
            return True
        last = tracked.last if tracked.known else None
        if last is None or last.armed is not sample.armed:
            return False
        if last.dead_letters != sample.dead_letters:
            tracked.last = replace(last, dead_letters=sample.dead_letters)
        tracked.requested_at = time.monotonic()
        self._tracked.move_to_end(identity)
        return True

    def _drop_old(self) -> None:
        too_old = time.monotonic() - FORGET_SECONDS
        while self._tracked:
            identity, oldest = next(iter(self._tracked.items()))
            if oldest.owner.declared:
                self._tracked.move_to_end(identity)
                oldest.requested_at = time.monotonic()
            elif oldest.requested_at < too_old or len(self._tracked) > MAX_TRACKED:
                self._drop(identity)
                continue
            break
        while self._size > MAX_TRACKED_BYTES and (found := self._oldest_of_largest_namespace()) is not None:
            self._drop(found)

    def _oldest_of_largest_namespace(self) -> tuple[Owner, str] | None:
        """Return the trigger to drop for lack of memory, so that one namespace cannot displace the others."""
        requested = ((size, namespace) for namespace, size in self._sizes.items() if namespace)
        _, largest = max(requested, default=(0, ""))
        return next((one for one in self._tracked if one[0].namespace == largest and not one[0].declared), None)

    def _drop(self, identity: tuple[Owner, str]) -> None:
        dropped = self._tracked.pop(identity)
        self._count(dropped.owner, -dropped.size)

    def _count(self, owner: Owner, size: int) -> None:
        self._size += size
        self._sizes[owner.namespace] += size
        if not self._sizes[owner.namespace]:
            del self._sizes[owner.namespace]


def _evaluation_of(scaled: ScaledTrigger, sample: Sample, poll_seconds: float | None) -> Evaluation:
    trigger, backlog = scaled.trigger, sample.backlog
    if isinstance(trigger, PubSubTrigger):
        raise TypeError("a pub/sub trigger has no backlog")
    target = instances_for(backlog.entries, trigger.messages_per_worker)
    if scaled.max_instances is not None:
        target = min(target, scaled.max_instances)
    active = backlog.entries > scaled.activation
    watched = _watched(sample, poll_seconds)
    return Evaluation(target, active, backlog, sample.taken_at, sample.dead_letters, sample.armed, watched)


def _watched(sample: Sample, poll_seconds: float | None) -> str:
    """Return how changes of a backlog are noticed."""
    if sample.armed is not None:
        return "changes are reported (client tracking)"
    how = "measured on request" if poll_seconds is None else f"polled every {poll_seconds * 1000:.0f} ms"
    return f"{how}: {sample.why_polled}"
