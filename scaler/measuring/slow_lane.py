"""Measures streams that are costly, or not known yet, without delaying what is cheap to measure.

    fast lane (measure.py)                          slow lane
    lists, and streams that were cheap last time    all other streams
    one round trip for all                          step by step, each about 10 ms of the server's time
    results at once                                 results as soon as each is known, or kept ones

Between two steps the server and the scaler do other work.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from listeners.errors import CommandRefusedError, SourceError, SourceTimeoutError, SourceUnavailableError
from listeners.redis.client import Client
from listeners.redis.server_info import ServerInfo
from listeners.runtime.logs import steady_logger
from listeners.text import printable
from scaler.measuring.backlog import KeyBacklog, KeySample
from scaler.measuring.counting import STEP_SECONDS, StreamMeasurement
from scaler.measuring.known_streams import KnownStreams
from scaler.measuring.queries import Reply, StreamQuery, run

__all__ = ["KeyResult", "SlowLane"]

log = steady_logger("triggerfish.scaler")

#: The result for one key.
KeyResult = KeySample | SourceError
#: The maximum number of streams in one step, and the time limit of a step.
MAX_STEP = 500
STEP_LIMIT_SECONDS = 10.0
#: A stream that was costly gives way to later requests for 100 times its cost, up to this time.
GIVE_WAY_MULTIPLE = 100
GIVE_WAY_SECONDS = 1.0


@dataclass
class _Job:
    """A stream to be measured. `known`: what its next step costs is known. `started`: its first step was sent."""

    query: StreamQuery
    measurement: StreamMeasurement
    known: bool
    future: asyncio.Future[KeyResult]
    started: bool = False
    taken_at: float = field(default_factory=time.monotonic)


class SlowLane:
    """The slow lane of one Redis. `on_step` is called after each step, with the error if it had no reply."""

    def __init__(self, client: Client, on_step: Callable[[float, SourceError | None], object]) -> None:
        self._client = client
        self._on_step = on_step
        self.known = KnownStreams()
        #: Requested streams whose first step was not sent yet.
        self._requested: dict[StreamQuery, _Job] = {}
        self._due: list[tuple[float, int, _Job]] = []
        self._numbers = itertools.count()
        #: How long a step without or with pages is expected to take the server where that is not known for the stream.
        #: Few are tried together at first.
        self._unknown_seconds = {False: STEP_SECONDS, True: STEP_SECONDS}
        self._server = ServerInfo()
        self._running: asyncio.Task[None] | None = None

    def measure(self, query: StreamQuery, server: ServerInfo) -> asyncio.Future[KeyResult]:
        """Return the result of a measurement that begins after this call, or one that is kept."""
        self._server = server
        if (kept := self.known.kept(query)) is not None:
            return _done(kept)
        job = self._requested.get(query)
        if job is None:
            cost_seconds = self.known.cost_seconds(query)
            # Without lags (before Redis 7.0) nearly every stream needs pages.
            needs_pages = self.known.needs_pages(query) or not server.supports(7)
            measurement = StreamMeasurement(
                query, server, needs_pages=needs_pages, expected_seconds=cost_seconds or 0.0
            )
            future: asyncio.Future[KeyResult] = asyncio.get_running_loop().create_future()
            job = self._requested[query] = _Job(query, measurement, cost_seconds is not None, future)
            self._enqueue(job)
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run(), name="measuring slow streams")
        return job.future

    async def close(self) -> None:
        """Stop measuring. Requests that are left get an error."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        for _, _, job in self._due:
            _resolve(job, _stopped(job))

    def _enqueue(self, job: _Job) -> None:
        give_way_seconds = min(GIVE_WAY_MULTIPLE * job.measurement.expected_seconds, GIVE_WAY_SECONDS)
        heapq.heappush(self._due, (time.monotonic() + give_way_seconds, next(self._numbers), job))

    async def _run(self) -> None:
        while self._due:
            if jobs := self._next_step():
                await self._take_step(jobs)
            await asyncio.sleep(0)

    def _next_step(self) -> list[_Job]:
        """Return the next streams, up to about STEP_SECONDS of the server's time. Kept results are returned instead."""
        jobs: list[_Job] = []
        expected_seconds = 0.0
        while self._due and len(jobs) < MAX_STEP:
            job = self._due[0][2]
            kept = None if job.started else self.known.kept(job.query)
            if kept is None:
                expected_seconds += self._expected_seconds(job)
                if jobs and expected_seconds > STEP_SECONDS:
                    break
                jobs.append(job)
            heapq.heappop(self._due)
            if not job.started:
                job.started = True
                del self._requested[job.query]
            if kept is not None:
                _resolve(job, kept)
        return jobs

    def _expected_seconds(self, job: _Job) -> float:
        measurement = job.measurement
        return measurement.expected_seconds if job.known else self._unknown_seconds[measurement.needs_pages]

    async def _take_step(self, jobs: Sequence[_Job]) -> None:
        began = time.monotonic()
        unknown = [(job, job.measurement.needs_pages, job.measurement.seconds) for job in jobs if not job.known]
        try:
            async with asyncio.timeout(STEP_LIMIT_SECONDS):
                groups = [(job.query.key, [job.measurement.call()]) for job in jobs]
                replies = await run(self._client, self._server, groups)
            for job, reply in zip(jobs, replies, strict=True):
                self._take(job, reply, began)
        except asyncio.CancelledError:
            for job in jobs:
                _resolve(job, _stopped(job))
            raise
        except Exception as error:  # noqa: BLE001  (every request must end)
            for job in jobs:
                job.measurement.result = _source_error(job, error)
        for needs_pages in (False, True):
            self._learn(
                needs_pages, [job.measurement.seconds - at for job, paged, at in unknown if paged == needs_pages]
            )
        self._finish(jobs, time.monotonic() - began)

    def _take(self, job: _Job, reply: Reply, began: float) -> None:
        if not job.measurement.begun:
            job.taken_at = began
        job.measurement.take(reply)
        if job.measurement.result is None:
            job.known = job.measurement.begun
            self._enqueue(job)

    def _learn(self, with_pages: bool, costs_seconds: Sequence[float]) -> None:
        """Adapt what streams that are not known are expected to cost, by what some did."""
        if costs_seconds:
            mean_seconds = sum(costs_seconds) / len(costs_seconds)
            self._unknown_seconds[with_pages] = max(mean_seconds, self._unknown_seconds[with_pages] / 2)

    def _finish(self, jobs: Sequence[_Job], elapsed_seconds: float) -> None:
        """Return the results that are known after a step."""
        unanswered: SourceError | None = None
        for job in jobs:
            measurement, result = job.measurement, job.measurement.result
            if isinstance(result, KeyBacklog):
                sample = KeySample(result, job.taken_at)
                self.known.record(job.query, sample, measurement.seconds, needs_pages=measurement.needs_pages)
                _resolve(job, sample)
            elif result is not None:
                if isinstance(result, SourceTimeoutError):
                    self.known.record_timeout(job.query, result, elapsed_seconds)
                if isinstance(result, SourceUnavailableError | SourceTimeoutError):
                    unanswered = result
                _resolve(job, result)
        self._on_step(elapsed_seconds, unanswered)


def _done(result: KeyResult) -> asyncio.Future[KeyResult]:
    future: asyncio.Future[KeyResult] = asyncio.get_running_loop().create_future()
    future.set_result(result)
    return future


def _stopped(job: _Job) -> SourceError:
    return SourceUnavailableError(f"stream {job.query.key!r}: its Redis is no longer measured")


def _source_error(job: _Job, error: Exception) -> SourceError:
    if isinstance(error, SourceError):
        return error
    if isinstance(error, TimeoutError):
        stream = printable(job.query.key)
        return SourceTimeoutError(f"measuring stream '{stream}': no reply within {STEP_LIMIT_SECONDS:g} s")
    log.exception("unexpected error while measuring stream %r", job.query.key)
    return CommandRefusedError(f"measuring stream {job.query.key!r}: unreadable reply: {type(error).__name__}")


def _resolve(job: _Job, result: KeyResult) -> None:
    if not job.future.done():
        job.future.set_result(result)
