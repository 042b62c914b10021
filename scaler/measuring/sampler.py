"""Coalesces concurrent measurements of one Redis, and caches samples for 50 ms."""

import asyncio
import contextlib
import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from listeners.connections.spec import ConnectionSpec
from listeners.errors import CommandRefusedError, SourceError, SourceTimeoutError, SourceUnavailableError
from listeners.redis.client import Client
from listeners.redis.server_info import ServerInfo
from listeners.runtime.logs import steady_logger
from scaler.measuring.backlog import Backlog
from scaler.measuring.counting import CountCache
from scaler.measuring.dead_letters import DeadLetterCount, DeadLetterCounter
from scaler.measuring.measure import measure
from scaler.measuring.outage import Outage
from scaler.measuring.readable import readable
from scaler.triggers.measured_trigger import MeasuredTrigger

__all__ = ["Sample", "Sampler", "Samplers"]

log = steady_logger("triggerfish.scaler")

#: How long a sample is shared by requests, such as GetMetrics and IsActive of one poll, and concurrent polls. Shorter
#: than the interval of pushed activation, which would otherwise see each sample twice.
FRESH_SECONDS = 0.05
#: A round starts when no request has come for QUIET_SECONDS, and after GATHER_SECONDS at the latest.
QUIET_SECONDS = 0.005
GATHER_SECONDS = 0.1
#: Triggers measured in one round. Writing and reading this many takes about 20 ms, during which other requests wait.
MAX_ROUND = 500
#: The share of a round's time that one reply may take. The rest is for returning what a cluster's other nodes replied.
NODE_SHARE = 0.8
#: The maximum number of Redis servers with a sampler.
MAX_SERVERS = 1_000


@dataclass(frozen=True)
class Sample:
    """A backlog, and when it was measured (time.monotonic). `dead_letters` may be older, or unknown."""

    backlog: Backlog
    taken_at: float
    dead_letters: DeadLetterCount | None = None

    @property
    def age_seconds(self) -> float:
        """The age of the sample."""
        return time.monotonic() - self.taken_at


class Sampler:
    """Measures one Redis. Each request gets a sample within `bound_seconds`, or a SourceError.

    A Redis that does not respond is tried again after a pause. Requests during the pause fail at once.
    """

    def __init__(
        self, spec: ConnectionSpec, *, bound_seconds: float, on_measured: Callable[[float, str | None], object]
    ) -> None:
        self._address = spec.address
        self._bound_seconds = bound_seconds
        self._on_measured = on_measured
        self._client = Client(spec, "triggerfish:scaler", timeout_seconds=bound_seconds * NODE_SHARE)
        self._server: ServerInfo | None = None
        self._count_cache = CountCache()
        self._outage = Outage()
        self._samples: OrderedDict[MeasuredTrigger, tuple[float, Backlog | SourceError]] = OrderedDict()
        self._requested: dict[MeasuredTrigger, asyncio.Future[Sample]] = {}
        self._skip_gathering = False
        self._measuring: asyncio.Task[None] | None = None
        self._dead_letters = DeadLetterCounter(self._client)
        self._counting: asyncio.Task[None] | None = None
        self.used_at = time.monotonic()

    async def sample(self, trigger: MeasuredTrigger, *, fresh: bool = False) -> Sample:
        """Return a sample that is at most FRESH_SECONDS old. With `fresh`, measure after this call, so that the sample
        includes all changes before it. Raises SourceError for an unknown value, which is never reported as 0.
        """
        taken_at, result = self._samples.get(trigger, (0.0, None))
        if not fresh and result is not None and time.monotonic() - taken_at < FRESH_SECONDS:
            if isinstance(result, SourceError):
                raise result.with_traceback(None)
            return Sample(result, taken_at, self._dead_letters.count(trigger))
        if (error := self._outage.error) is not None:
            raise error.with_traceback(None)
        self._skip_gathering = self._skip_gathering or fresh
        future = self._requested.get(trigger)
        if future is None:
            future = self._requested[trigger] = asyncio.get_running_loop().create_future()
        if self._measuring is None or self._measuring.done():
            self._measuring = asyncio.create_task(self._measure_requested(), name=f"measuring {self._address}")
        try:
            async with asyncio.timeout(self._bound_seconds):
                return await asyncio.shield(future)
        except TimeoutError:
            raise self._timed_out() from None

    async def retire(self) -> None:
        """Finish the measurement in progress, within a bound, then disconnect."""
        if self._measuring is not None:
            await asyncio.wait({self._measuring}, timeout=2 * self._bound_seconds)
        await self.close()

    async def close(self) -> None:
        """Stop measuring and disconnect."""
        tasks = [task for task in (self._measuring, self._counting) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.aclose()

    async def _measure_requested(self) -> None:
        """Measure the requested triggers in rounds until no request is left."""
        while self._requested:
            await self._gather()
            current = dict(itertools.islice(self._requested.items(), MAX_ROUND))
            self._requested = {trigger: f for trigger, f in self._requested.items() if trigger not in current}
            results = await self._measure(list(current))
            now = time.monotonic()
            self._keep(now, results)
            for trigger, future in current.items():
                _resolve(future, results[trigger], now, self._dead_letters.count(trigger))
            if (error := self._outage.error) is not None:
                for future in self._requested.values():
                    _resolve(future, error, now)
                self._requested.clear()
            else:
                self._count_dead_letters(current)

    def _count_dead_letters(self, triggers: Iterable[MeasuredTrigger]) -> None:
        """Start to count the dead letters of triggers that are due, without making the next round wait."""
        if (self._counting is None or self._counting.done()) and (due := self._dead_letters.due(triggers)):
            self._counting = asyncio.create_task(self._dead_letters.refresh(due), name=f"counting at {self._address}")

    async def _gather(self) -> None:
        """Wait for requests that arrive together: a thousand calls from KEDA take longer to read than one round trip.

        Requests with `fresh` do not wait: pushed activation makes them together, for all triggers that changed.
        """
        until = time.monotonic() + min(GATHER_SECONDS, self._bound_seconds / 10)
        seen = 0
        while seen < len(self._requested) < MAX_ROUND and not self._skip_gathering and time.monotonic() < until:
            seen = len(self._requested)
            await asyncio.sleep(QUIET_SECONDS)
        self._skip_gathering = False

    async def _measure(self, triggers: list[MeasuredTrigger]) -> dict[MeasuredTrigger, Backlog | SourceError]:
        began = time.monotonic()
        results: dict[MeasuredTrigger, Backlog | SourceError]
        try:
            async with asyncio.timeout(self._bound_seconds):
                if self._server is None:
                    self._server = await self._client.server()
                measured = await measure(self._client, self._server, triggers, self._count_cache)
                results = {trigger: readable(result) for trigger, result in measured.items()}
        except Exception as error:  # noqa: BLE001  (every request must end)
            unanswered = [self._failure(error)] * len(triggers)
            results = dict(zip(triggers, unanswered, strict=True))
        else:
            unanswered = [r for r in results.values() if isinstance(r, SourceUnavailableError | SourceTimeoutError)]
        self._record_round(unanswered, answered=len(unanswered) < len(results))
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

    def _keep(self, now: float, results: Mapping[MeasuredTrigger, Backlog | SourceError]) -> None:
        """Cache these results, and drop expired ones."""
        while self._samples and now - next(iter(self._samples.values()))[0] >= FRESH_SECONDS:
            self._samples.popitem(last=False)
        for trigger, result in results.items():
            self._samples[trigger] = (now, result)
            self._samples.move_to_end(trigger)

    def _failure(self, error: Exception) -> SourceError:
        if isinstance(error, SourceError):
            return error
        if isinstance(error, TimeoutError):
            return self._timed_out()
        log.exception("unexpected error while measuring %s", self._address)
        return CommandRefusedError(f"unreadable reply from Redis at {self._address}: {type(error).__name__}")

    def _timed_out(self) -> SourceTimeoutError:
        return SourceTimeoutError(f"Redis at {self._address} did not answer within {self._bound_seconds:g} s")


class Samplers:
    """One Sampler for each Redis in use, at most `max_servers`. Beyond that, the least recently used one is closed."""

    def __init__(
        self,
        *,
        bound_seconds: float,
        on_measured: Callable[[float, str | None], object],
        max_servers: int = MAX_SERVERS,
    ) -> None:
        self._max_servers = max_servers
        self._bound_seconds = bound_seconds
        self._on_measured = on_measured
        self._samplers: OrderedDict[ConnectionSpec, Sampler] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    async def sample(self, spec: ConnectionSpec, trigger: MeasuredTrigger, *, fresh: bool = False) -> Sample:
        """Return a sample from this Redis; see Sampler.sample. Raises SourceError."""
        sampler = self._samplers.get(spec)
        if sampler is None:
            sampler = Sampler(spec, bound_seconds=self._bound_seconds, on_measured=self._on_measured)
            self._samplers[spec] = sampler
            self._evict()
        self._samplers.move_to_end(spec)
        sampler.used_at = time.monotonic()
        return await sampler.sample(trigger, fresh=fresh)

    def idle(self, seconds: float) -> list[ConnectionSpec]:
        """Return the servers that have not been used for this many seconds."""
        idle_since = time.monotonic() - seconds
        return [spec for spec, sampler in self._samplers.items() if sampler.used_at < idle_since]

    def retire(self, specs: Iterable[ConnectionSpec]) -> None:
        """Disconnect from these servers: they are no longer used, or under another spec."""
        for spec in specs:
            if (sampler := self._samplers.pop(spec, None)) is not None:
                self._close_in_background(sampler)

    async def close(self) -> None:
        """Close all samplers."""
        await asyncio.gather(*(sampler.close() for sampler in self._samplers.values()), *self._closing)
        self._samplers.clear()

    def _evict(self) -> None:
        while len(self._samplers) > self._max_servers:
            _, oldest = self._samplers.popitem(last=False)
            self._close_in_background(oldest)

    def _close_in_background(self, sampler: Sampler) -> None:
        closing = asyncio.create_task(sampler.retire())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


def _resolve(
    future: asyncio.Future[Sample],
    result: Backlog | SourceError,
    now: float,
    dead_letters: DeadLetterCount | None = None,
) -> None:
    if future.done():
        return
    if isinstance(result, SourceError):
        future.set_exception(result)
        with contextlib.suppress(SourceError):  # or asyncio logs it if the caller no longer waits
            future.result()
    else:
        future.set_result(Sample(result, now, dead_letters))
