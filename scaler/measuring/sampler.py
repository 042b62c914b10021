"""Shares measurements: whoever asks about one Redis at one time shares one round trip, or a young sample."""

import asyncio
import contextlib
import itertools
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from listeners.connections.spec import ConnectionSpec
from listeners.errors import CommandRefusedError, SourceError, SourceTimeoutError, SourceUnavailableError
from listeners.redis.client import Client
from listeners.redis.server_info import ServerInfo
from scaler.measuring.backlog import Backlog
from scaler.measuring.counting import CountMemory
from scaler.measuring.measure import measure
from scaler.measuring.outage import Outage
from scaler.triggers.measured_trigger import MeasuredTrigger

__all__ = ["Sample", "Sampler", "Samplers"]

log = logging.getLogger("triggerfish.scaler")

#: A sample serves whoever asks within so long: GetMetrics and IsActive of one poll, and all who poll together. It is
#: shorter than the interval of pushed activation, which would otherwise see each sample twice.
FRESH_SECONDS = 0.05
#: A round begins when nobody new asked for so long, but is not put off for longer than GATHER_SECONDS.
QUIET_SECONDS = 0.005
GATHER_SECONDS = 0.1
#: Triggers measured in one round: writing and reading so many takes some 20 ms, for which others wait.
MAX_ROUND = 500
#: The part of a round's time that one answer may take: what other nodes of a cluster answered is told in the rest.
NODE_SHARE = 0.8
#: Redis servers known at one time.
MAX_SERVERS = 1_000


@dataclass(frozen=True)
class Sample:
    """A backlog and when it was measured (time.monotonic)."""

    backlog: Backlog
    taken_at: float

    @property
    def age_seconds(self) -> float:
        """How old the sample is."""
        return time.monotonic() - self.taken_at


class Sampler:
    """Measures one Redis. Every answer comes within `bound_seconds`, or is a SourceError.

    One that does not answer is asked again after a pause; meanwhile whoever asks is told so at once.
    """

    def __init__(
        self, spec: ConnectionSpec, *, bound_seconds: float, on_measured: Callable[[float, str | None], object]
    ) -> None:
        self._address = spec.address
        self._bound_seconds = bound_seconds
        self._on_measured = on_measured
        self._client = Client(spec, "triggerfish:scaler", timeout_seconds=bound_seconds * NODE_SHARE)
        self._server: ServerInfo | None = None
        self._memory = CountMemory()
        self._outage = Outage()
        self._samples: OrderedDict[MeasuredTrigger, tuple[float, Backlog | SourceError]] = OrderedDict()
        self._wanted: dict[MeasuredTrigger, asyncio.Future[Sample]] = {}
        self._hurry = False
        self._measuring: asyncio.Task[None] | None = None
        self.asked_at = time.monotonic()

    async def sample(self, measured: MeasuredTrigger, *, fresh: bool = False) -> Sample:
        """Return a sample that is at most FRESH_SECONDS old. With `fresh`, measure after this call, so that the sample
        includes what is known to have happened. Raises SourceError for an unknown value, which is never 0.
        """
        taken_at, result = self._samples.get(measured, (0.0, None))
        if not fresh and result is not None and time.monotonic() - taken_at < FRESH_SECONDS:
            if isinstance(result, SourceError):
                raise result.with_traceback(None)
            return Sample(result, taken_at)
        if (told := self._outage.error) is not None:
            raise told.with_traceback(None)
        self._hurry = self._hurry or fresh
        answer = self._wanted.get(measured)
        if answer is None:
            answer = self._wanted[measured] = asyncio.get_running_loop().create_future()
        if self._measuring is None or self._measuring.done():
            self._measuring = asyncio.create_task(self._measure_wanted(), name=f"measuring {self._address}")
        try:
            async with asyncio.timeout(self._bound_seconds):
                return await asyncio.shield(answer)
        except TimeoutError:
            raise self._timed_out() from None

    async def retire(self) -> None:
        """Finish what is being measured, which has its bound, then disconnect."""
        if self._measuring is not None:
            await asyncio.wait({self._measuring}, timeout=2 * self._bound_seconds)
        await self.close()

    async def close(self) -> None:
        """Stop measuring and disconnect."""
        if self._measuring is not None:
            self._measuring.cancel()
            await asyncio.gather(self._measuring, return_exceptions=True)
        await self._client.aclose()

    async def _measure_wanted(self) -> None:
        """Measure what is wanted, in one round trip, until nothing more is."""
        while self._wanted:
            await self._gather()
            wanted = dict(itertools.islice(self._wanted.items(), MAX_ROUND))
            self._wanted = {measured: a for measured, a in self._wanted.items() if measured not in wanted}
            results = await self._measure(list(wanted))
            now = time.monotonic()
            self._keep(now, results)
            for measured, answer in wanted.items():
                _resolve(answer, results[measured], now)
            if (told := self._outage.error) is not None:
                for answer in self._wanted.values():
                    _resolve(answer, told, now)
                self._wanted.clear()

    async def _gather(self) -> None:
        """Let those join that arrive together: a thousand calls of KEDA take longer to read than one round trip.

        Who asks fresh has waited for Redis to tell of something, and comes with all others that it told of.
        """
        until = time.monotonic() + min(GATHER_SECONDS, self._bound_seconds / 10)
        known = 0
        while known < len(self._wanted) < MAX_ROUND and not self._hurry and time.monotonic() < until:
            known = len(self._wanted)
            await asyncio.sleep(QUIET_SECONDS)
        self._hurry = False

    async def _measure(self, triggers: list[MeasuredTrigger]) -> dict[MeasuredTrigger, Backlog | SourceError]:
        began = time.monotonic()
        results: dict[MeasuredTrigger, Backlog | SourceError]
        try:
            async with asyncio.timeout(self._bound_seconds):
                if self._server is None:
                    self._server = await self._client.server()
                results = await measure(self._client, self._server, triggers, self._memory)
        except Exception as error:  # noqa: BLE001  (whoever asks must get an answer)
            unanswered = [self._failure(error)] * len(triggers)
            results = dict(zip(triggers, unanswered, strict=True))
        else:
            unanswered = [r for r in results.values() if isinstance(r, SourceUnavailableError | SourceTimeoutError)]
        self._note(unanswered, answered=len(unanswered) < len(results))
        self._on_measured(time.monotonic() - began, unanswered[0].reason if unanswered else None)
        return results

    def _note(self, unanswered: Sequence[SourceError], *, answered: bool) -> None:
        """Take note of a round: what of it was not answered, and whether something else was."""
        # A node of a cluster says nothing about the others; only if none says what the cluster is, all are let alone.
        silent = not answered and (self._server is None or not self._client.is_cluster)
        if silent:
            self._outage.failed(unanswered[0])
        else:
            self._outage.over()
        if unanswered:
            self._server = None  # another server may answer next time

    def _keep(self, now: float, results: Mapping[MeasuredTrigger, Backlog | SourceError]) -> None:
        """Keep these for a moment, and nothing that is older."""
        while self._samples and now - next(iter(self._samples.values()))[0] >= FRESH_SECONDS:
            self._samples.popitem(last=False)
        for measured, result in results.items():
            self._samples[measured] = (now, result)
            self._samples.move_to_end(measured)

    def _failure(self, error: Exception) -> SourceError:
        if isinstance(error, SourceError):
            return error
        if isinstance(error, TimeoutError):
            return self._timed_out()
        log.exception("measuring %s failed in a way that was not foreseen", self._address)
        return CommandRefusedError(f"what Redis at {self._address} answered cannot be read: {type(error).__name__}")

    def _timed_out(self) -> SourceTimeoutError:
        return SourceTimeoutError(f"Redis at {self._address} did not answer within {self._bound_seconds:g} s")


class Samplers:
    """One Sampler for each Redis that is asked about, `max_servers` at most."""

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

    async def sample(self, spec: ConnectionSpec, measured: MeasuredTrigger, *, fresh: bool = False) -> Sample:
        """A sample from this Redis; see Sampler.sample. Raises SourceError."""
        sampler = self._samplers.get(spec)
        if sampler is None:
            sampler = Sampler(spec, bound_seconds=self._bound_seconds, on_measured=self._on_measured)
            self._samplers[spec] = sampler
            self._forget_beyond_limit()
        self._samplers.move_to_end(spec)
        sampler.asked_at = time.monotonic()
        return await sampler.sample(measured, fresh=fresh)

    def idle(self, seconds: float) -> list[ConnectionSpec]:
        """Those that nobody asked about for so long."""
        too_old = time.monotonic() - seconds
        return [spec for spec, sampler in self._samplers.items() if sampler.asked_at < too_old]

    def retire(self, specs: Iterable[ConnectionSpec]) -> None:
        """Disconnect from these: they are asked about no more, or as another spec."""
        for spec in specs:
            if (sampler := self._samplers.pop(spec, None)) is not None:
                self._close_later(sampler)

    async def close(self) -> None:
        """Close all of them."""
        await asyncio.gather(*(sampler.close() for sampler in self._samplers.values()), *self._closing)
        self._samplers.clear()

    def _forget_beyond_limit(self) -> None:
        while len(self._samplers) > self._max_servers:
            _, oldest = self._samplers.popitem(last=False)
            self._close_later(oldest)

    def _close_later(self, sampler: Sampler) -> None:
        closing = asyncio.create_task(sampler.retire())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


def _resolve(answer: asyncio.Future[Sample], result: Backlog | SourceError, now: float) -> None:
    if answer.done():
        return
    if isinstance(result, SourceError):
        answer.set_exception(result)
        with contextlib.suppress(SourceError):  # whoever asked may have stopped waiting
            answer.result()
    else:
        answer.set_result(Sample(result, now))
