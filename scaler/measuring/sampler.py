"""Coalesces concurrent measurements of one Redis, and caches samples for 50 ms."""

import asyncio
import contextlib
import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from listeners.connections.spec import ConnectionSpec
from listeners.errors import CommandRefusedError, SourceError, SourceTimeoutError, SourceUnavailableError
from listeners.redis.client import Client
from listeners.redis.server_info import ServerInfo
from listeners.runtime.logs import steady_logger
from listeners.runtime.tasks import wait_for_event
from listeners.tracking.armed import Armed
from scaler.measuring.backlog import Backlog
from scaler.measuring.dead_letters import DeadLetterCount, DeadLetterCounter
from scaler.measuring.measure import Measurement, measure
from scaler.measuring.outage import Outage, not_answered, not_begun, not_settled, too_slow
from scaler.measuring.queries import stream_query
from scaler.measuring.queues.extras import QueueExtras
from scaler.measuring.queues.names import queue_names
from scaler.measuring.queues.settling import Settling, share
from scaler.measuring.readable import readable
from scaler.measuring.slow_lane import SlowLane
from scaler.measuring.verifying import unchanged
from scaler.measuring.watched_samples import WatchedSamples
from scaler.queues.trigger import QueueTrigger
from scaler.triggers.measured_trigger import MeasuredTrigger

__all__ = ["Sample", "Sampler"]

log = steady_logger("triggerfish.scaler")

#: How long a sample is shared by requests, such as GetMetrics and IsActive of one poll, and concurrent polls. Shorter
#: than the interval of pushed activation, which would otherwise see each sample twice.
FRESH_SECONDS = 0.05
#: A round starts when no request has come for QUIET_SECONDS, and after GATHER_SECONDS at the latest.
QUIET_SECONDS = 0.005
GATHER_SECONDS = 0.1
#: Keys measured in one round. Writing and reading this many takes about 20 ms, during which other requests wait. A
#: trigger has at most 100.
MAX_ROUND_KEYS = 500
#: The share of a round's time that one reply may take. The rest is for returning what a cluster's other nodes replied.
NODE_SHARE = 0.8


@dataclass(frozen=True)
class Sample:
    """A backlog, and when it was measured (time.monotonic). `dead_letters` may be older, or unknown.

    `armed`: Redis will report any change of it; None if it has to be polled, with the reason in `why_polled`.
    """

    backlog: Backlog
    taken_at: float
    dead_letters: DeadLetterCount | None = None
    armed: Armed | None = None
    why_polled: str = ""


class Sampler:
    """Measures one Redis. Each request gets a sample within `bound_seconds`, or a SourceError.

    A Redis that does not respond is tried again after a pause. Requests during the pause fail at once. `on_untold`: see
    WatchedSamples.
    """

    def __init__(
        self,
        spec: ConnectionSpec,
        *,
        bound_seconds: float,
        on_measured: Callable[[float, str | None], object],
        on_untold: Callable[[], object] | None = None,
    ) -> None:
        self._address = spec.address
        self._bound_seconds = bound_seconds
        self._on_measured = on_measured
        self._client = Client(spec, "triggerfish:scaler", timeout_seconds=bound_seconds * NODE_SHARE)
        self._server: ServerInfo | None = None
        self._slow_lane = SlowLane(self._client, self._record_slow_step)
        self._watched = WatchedSamples(self._client, spec.address, on_untold)
        self._extras = QueueExtras(self._client, spec.database, self._watched.changed)
        self._outage = Outage()
        self._samples: OrderedDict[MeasuredTrigger, tuple[float, Sample | SourceError]] = OrderedDict()
        self._requested: dict[MeasuredTrigger, asyncio.Future[Sample]] = {}
        self._in_slow_lane: set[asyncio.Future[Sample]] = set()
        self._settling = Settling(self._request)
        #: Set when a request does not wait for others to be measured with it.
        self._is_urgent = asyncio.Event()
        self._measuring: asyncio.Task[None] | None = None
        self._dead_letters = DeadLetterCounter(self._client)
        self._counting: asyncio.Task[None] | None = None
        self.used_at = time.monotonic()

    async def sample(self, trigger: MeasuredTrigger, *, fresh: bool = False) -> Sample:
        """Return a sample that is at most FRESH_SECONDS old, or that no change was reported of. With `fresh`, measure
        after this call, so that the sample includes all changes before it. Raises SourceError for an unknown value,
        which is never reported as 0.
        """
        if not fresh and (watched := self._watched.find(trigger)) is not None:
            return self._sample(trigger, watched.backlog, watched.taken_at, watched.armed if watched.rests else None)
        kept_at, result = self._samples.get(trigger, (0.0, None))
        if not fresh and result is not None and time.monotonic() - kept_at < FRESH_SECONDS:
            if isinstance(result, SourceError):
                raise result.with_traceback(None)
            return result
        if (error := self._outage.error) is not None:
            raise error.with_traceback(None)
        if fresh:
            self._is_urgent.set()
        future = self._requested.get(trigger) or self._settling.waiting(trigger)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            self._request(trigger, future)
        try:
            async with asyncio.timeout(self._bound_seconds):
                return await asyncio.shield(future)
        except TimeoutError:
            if future in self._in_slow_lane:
                return self._last_sample(trigger)
            raise self._overdue(trigger, future) from None

    async def verify(self, triggers: Iterable[MeasuredTrigger]) -> dict[MeasuredTrigger, Sample]:
        """Measure triggers at rest again, without making any request wait. Return samples of those that still rest with
        the same backlog; the others are to be measured with sample().
        """
        if self._server is None or self._outage.error is not None:
            return {}
        began = time.monotonic()
        backlogs = self._watched.backlogs_at_rest(triggers)
        try:
            async with asyncio.timeout(self._bound_seconds):
                found = await unchanged(self._client, self._server, self._slow_lane.known, backlogs)
        except Exception as error:  # noqa: BLE001  (sample() reports it)
            log.debug("cannot verify triggers at rest of Redis at %s: %s", self._address, self._failure(error))
            return {}
        self._on_measured(time.monotonic() - began, None)
        self._count_dead_letters(found)
        return {
            trigger: self._sample(trigger, watched.backlog, began, watched.armed)
            for trigger in found
            if (watched := self._watched.verified(trigger, backlogs[trigger], began)) is not None
        }

    async def queue_names(self, trigger: QueueTrigger) -> set[str] | None:
        """Return the names of the queues of a library; see measuring.queues.names. Never raises SourceError."""
        return await queue_names(self._client, trigger)

    async def retire(self) -> None:
        """Finish the measurement in progress, within a bound, then disconnect."""
        if self._measuring is not None:
            await asyncio.wait({self._measuring}, timeout=2 * self._bound_seconds)
        await self.close()

    async def close(self) -> None:
        """Stop measuring and disconnect."""
        self._settling.close()
        tasks = [task for task in (self._measuring, self._counting) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(
            *tasks, self._slow_lane.close(), self._extras.close(), self._watched.close(), return_exceptions=True
        )
        await self._client.aclose()

    def _request(self, trigger: MeasuredTrigger, future: asyncio.Future[Sample]) -> None:
        share(self._requested.setdefault(trigger, future), future)
        if self._measuring is None or self._measuring.done():
            self._measuring = asyncio.create_task(self._measure_requested(), name=f"measuring {self._address}")

    async def _measure_requested(self) -> None:
        """Measure the requested triggers in rounds until no request is left."""
        while self._requested:
            await self._gather()
            current = self._next_round()
            armed = await self._watched.arm(current, self._server)
            measured = await self._measure(list(current))
            for trigger, future in current.items():
                result = measured[trigger]
                unfinished = result.unfinished if isinstance(result, Measurement) else []
                if unfinished:
                    self._in_slow_lane.add(future)
                    finish = partial(self._finish, trigger, future, result, armed.get(trigger))
                    asyncio.gather(*unfinished).add_done_callback(finish)
                else:
                    self._finish(trigger, future, result, armed.get(trigger))
            if (error := self._outage.error) is not None:
                for future in self._requested.values():
                    _fail(future, error)
                self._requested.clear()
            else:
                self._count_dead_letters(current)

    def _next_round(self) -> dict[MeasuredTrigger, asyncio.Future[Sample]]:
        """Remove and return the requests for the next round."""
        current: dict[MeasuredTrigger, asyncio.Future[Sample]] = {}
        keys = 0
        for trigger in list(itertools.islice(self._requested, MAX_ROUND_KEYS)):
            keys += len(trigger.trigger.keys)
            if current and keys > MAX_ROUND_KEYS:
                break
            current[trigger] = self._requested.pop(trigger)
        return current

    def _finish(
        self,
        trigger: MeasuredTrigger,
        future: asyncio.Future[Sample],
        measurement: Measurement | SourceError,
        armed: Armed | None,
        _: object = None,
    ) -> None:
        """Return the result of a trigger to its requests, and cache it."""
        self._in_slow_lane.discard(future)
        result = readable(measurement.result()) if isinstance(measurement, Measurement) else measurement
        if isinstance(result, SourceError):
            self._keep(trigger, result)
            self._watched.drop(trigger)
            self._settling.interrupt(trigger)
            _fail(future, result)
        else:
            backlog, taken_at = result
            settled = self._settling.judge(trigger, backlog, taken_at, future)
            if settled is None:
                return
            backlog = settled
            sample = self._sample(trigger, backlog, taken_at, self._watched.keep(trigger, armed, backlog, taken_at))
            self._keep(trigger, sample)
            if not future.done():
                future.set_result(sample)

    def _sample(
        self, trigger: MeasuredTrigger, backlog: Backlog, taken_at: float, armed: Armed | None = None
    ) -> Sample:
        why_polled = "" if armed is not None else self._watched.why_polled(trigger, self._server)
        return Sample(backlog, taken_at, self._dead_letters.count(trigger), armed, why_polled)

    def _last_sample(self, trigger: MeasuredTrigger) -> Sample:
        """Return the last sample of a trigger that is measured too slowly. Raises SourceTimeoutError without one."""
        queries = [stream_query(trigger, key) for key in trigger.trigger.keys]
        samples = [self._slow_lane.known.last_sample(query) for query in queries if query is not None]
        known = [sample for sample in samples if sample is not None]
        if len(known) < len(queries) or not known:
            raise too_slow(trigger.trigger, self._bound_seconds)
        backlog = Backlog(tuple(sample.backlog for sample in known))
        return self._sample(trigger, backlog, min(sample.taken_at for sample in known))

    def _record_slow_step(self, seconds: float, error: SourceError | None) -> None:
        """Record a step of the slow lane. A timeout is no outage, since a stream may be the cause. The next round finds
        out whether Redis responds.
        """
        if error is None:
            self._outage.over()
        else:
            self._server = None
            if isinstance(error, SourceUnavailableError) and not self._client.is_cluster:
                self._outage.failed(error)
        self._on_measured(seconds, error.reason if error is not None else None)

    def _count_dead_letters(self, triggers: Iterable[MeasuredTrigger]) -> None:
        """Start to count the dead letters of triggers that are due, without making the next round wait."""
        due = self._dead_letters.due(triggers, self._watched.armed_since)
        if due and (self._counting is None or self._counting.done()):
            self._counting = asyncio.create_task(self._dead_letters.refresh(due), name=f"counting at {self._address}")

    async def _gather(self) -> None:
        """Wait for requests that arrive together: a thousand calls from KEDA take longer to read than one round trip.

        Requests with `fresh` do not wait: pushed activation makes them together, for all triggers that changed.
        """
        until = time.monotonic() + min(GATHER_SECONDS, self._bound_seconds / 10)
        seen = 0
        while (
            seen < len(self._requested) < MAX_ROUND_KEYS and not self._is_urgent.is_set() and time.monotonic() < until
        ):
            seen = len(self._requested)
            await wait_for_event(self._is_urgent, QUIET_SECONDS)
        self._is_urgent.clear()

    async def _measure(self, triggers: list[MeasuredTrigger]) -> Mapping[MeasuredTrigger, Measurement | SourceError]:
        began = time.monotonic()
        results: Mapping[MeasuredTrigger, Measurement | SourceError]
        try:
            async with asyncio.timeout(self._bound_seconds):
                if self._server is None:
                    self._server = await self._client.server()
                idle_lists = self._watched.idle_lists(triggers)
                results = await measure(
                    self._client, self._server, triggers, self._slow_lane, self._extras, idle_lists=idle_lists
                )
        except Exception as error:  # noqa: BLE001  (every request must end)
            unanswered = [self._failure(error)] * len(triggers)
            results = dict(zip(triggers, unanswered, strict=True))
            asked = len(triggers)
        else:
            fast = [measurement.fast_error for measurement in results.values() if measurement.fast]
            unanswered = [error for error in fast if isinstance(error, SourceUnavailableError | SourceTimeoutError)]
            asked = len(fast)
        if asked:  # what the slow lane is asked, it records
            self._record_round(unanswered, answered=len(unanswered) < asked)
            self._on_measured(time.monotonic() - began, unanswered[0].reason if unanswered else None)
        return results

    def _record_round(self, unanswered: Sequence[SourceError], *, answered: bool) -> None:
        """Record a round: the errors of triggers without an answer, and whether any other was answered."""
        # One failing node of a cluster implies nothing about the others. The cluster is down only if none answers INFO.
        down = not answered and (self._server is None or not self._client.is_cluster)
        if down:
            self._outage.failed(unanswered[0])
        else:
            self._outage.over()
        if unanswered:
            self._server = None  # another server may respond next time

    def _keep(self, trigger: MeasuredTrigger, result: Sample | SourceError) -> None:
        """Cache a result, and drop expired ones."""
        now = time.monotonic()
        while self._samples and now - next(iter(self._samples.values()))[0] >= FRESH_SECONDS:
            self._samples.popitem(last=False)
        self._samples[trigger] = (now, result)
        self._samples.move_to_end(trigger)

    def _failure(self, error: Exception) -> SourceError:
        if isinstance(error, SourceError):
            return error
        if isinstance(error, TimeoutError):
            return not_answered(self._address, self._bound_seconds)
        log.exception("unexpected error while measuring %s", self._address)
        return CommandRefusedError(f"unreadable reply from Redis at {self._address}: {type(error).__name__}")

    def _overdue(self, trigger: MeasuredTrigger, future: asyncio.Future[Sample]) -> SourceTimeoutError:
        """Return the error for a request without a result in time."""
        if self._settling.waiting(trigger) is not None:
            return not_settled(trigger.trigger, self._bound_seconds)
        if self._requested.get(trigger) is future:
            return not_begun(len(self._requested), self._address, self._bound_seconds)
        return not_answered(self._address, self._bound_seconds)


def _fail(future: asyncio.Future[Sample], error: SourceError) -> None:
    if not future.done():
        future.set_exception(error)
        with contextlib.suppress(SourceError):  # or asyncio logs it if the caller no longer waits
            future.result()
