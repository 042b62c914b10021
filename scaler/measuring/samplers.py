"""The samplers of all Redis servers in use. Those that ScaledObjects name by connection strings are kept apart."""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace

from listeners.connections.spec import ConnectionSpec
from listeners.errors import LimitReachedError, SourceError, SourceUnavailableError
from listeners.runtime.logs import steady_logger
from scaler.measuring.sampler import Sample, Sampler
from scaler.queues.trigger import QueueTrigger
from scaler.triggers.measured_trigger import MeasuredTrigger

__all__ = ["GuardedSamplers", "Samplers"]

log = steady_logger("triggerfish.scaler")

#: The maximum number of Redis servers with a sampler. Beyond it, the least recently used one is disconnected.
MAX_SERVERS = 1_000
#: The maximum number of servers from connection strings. Each may take a mebibyte of memory for its replies. Databases
#: of one server count separately, because a connection selects its database once.
MAX_UNTRUSTED_SERVERS = 64
#: Idle servers from connection strings are disconnected after this time. It is longer than KEDA's usual polling
#: interval (30 s).
IDLE_SECONDS = 300.0
#: The error for every failure: a user who may write a connection string must not learn what the scaler can reach.
CONCEALED = "connectionString: This Redis cannot be measured. The scaler logs the reason at level debug."


class Samplers:
    """One Sampler for each Redis in use, at most `max_servers`. Beyond that, the least recently used one is closed."""

    def __init__(
        self,
        *,
        bound_seconds: float,
        on_measured: Callable[[float, str | None], object],
        on_untold: Callable[[], object] | None = None,
        max_servers: int = MAX_SERVERS,
    ) -> None:
        self._max_servers = max_servers
        self._bound_seconds = bound_seconds
        self._on_measured = on_measured
        self._on_untold = on_untold
        self._samplers: OrderedDict[ConnectionSpec, Sampler] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    async def sample(self, spec: ConnectionSpec, trigger: MeasuredTrigger, *, fresh: bool = False) -> Sample:
        """Return a sample from this Redis; see Sampler.sample. Raises SourceError."""
        sampler = self._samplers.get(spec)
        if sampler is None:
            sampler = Sampler(
                spec, bound_seconds=self._bound_seconds, on_measured=self._on_measured, on_untold=self._on_untold
            )
            self._samplers[spec] = sampler
            self._evict()
        self._samplers.move_to_end(spec)
        sampler.used_at = time.monotonic()
        return await sampler.sample(trigger, fresh=fresh)

    async def verify(self, spec: ConnectionSpec, triggers: Iterable[MeasuredTrigger]) -> dict[MeasuredTrigger, Sample]:
        """Measure triggers at rest again; see Sampler.verify."""
        sampler = self._samplers.get(spec)
        if sampler is None:
            return {}
        sampler.used_at = time.monotonic()
        return await sampler.verify(triggers)

    async def queue_names(self, spec: ConnectionSpec, trigger: QueueTrigger) -> set[str] | None:
        """Return the names of the queues of a library; None if they are unknown."""
        sampler = self._samplers.get(spec)
        return await sampler.queue_names(trigger) if sampler is not None else None

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


class GuardedSamplers(Samplers):
    """Samplers that keep the servers from requests' connection strings apart from the operator's connections.

    They get no connection besides those for measuring, so that they are not tracked.
    """

    def __init__(
        self,
        *,
        bound_seconds: float,
        on_measured: Callable[[float, str | None], object],
        on_untold: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(bound_seconds=bound_seconds, on_measured=on_measured, on_untold=on_untold)

        def conceal_reason(seconds: float, error: str | None) -> None:
            on_measured(seconds, SourceUnavailableError.reason if error is not None else None)

        self._untrusted = Samplers(bound_seconds=bound_seconds, on_measured=conceal_reason)
        #: The servers in use and the namespaces that they count for, the least recently used one first.
        self._namespaces: OrderedDict[ConnectionSpec, str] = OrderedDict()

    async def sample(self, spec: ConnectionSpec, trigger: MeasuredTrigger, *, fresh: bool = False) -> Sample:
        """Return a sample from this Redis. Raises SourceError, always the same one for a connection string, or
        LimitReachedError.
        """
        if spec.allowed_hosts is None:
            return await super().sample(spec, trigger, fresh=fresh)
        server = replace(spec, namespace="")
        self._admit(server, spec.namespace)
        try:
            return await self._untrusted.sample(server, trigger, fresh=fresh)
        except SourceError as error:
            log.debug("cannot measure %s (from a ScaledObject's connection string): %s", spec.address, error)
            raise SourceUnavailableError(CONCEALED) from None

    def close_idle(self) -> None:
        """Disconnect from servers of connection strings that are no longer used."""
        idle = self._untrusted.idle(IDLE_SECONDS)
        for server in idle:
            self._namespaces.pop(server, None)
        self._untrusted.retire(idle)

    async def close(self) -> None:
        """Close all samplers."""
        await self._untrusted.close()
        await super().close()

    def _admit(self, server: ConnectionSpec, namespace: str) -> None:
        """Make room for a server of a namespace: the least recently used one of the namespace with the most servers is
        disconnected. Raises LimitReachedError if no other namespace has more servers than this one would have.
        """
        if server not in self._namespaces and len(self._namespaces) >= MAX_UNTRUSTED_SERVERS:
            counts = Counter(self._namespaces.values())
            largest, most = counts.most_common(1)[0]
            if counts[namespace] + 1 >= most:
                raise LimitReachedError(
                    "connectionString",
                    None,
                    f"The scaler measures {MAX_UNTRUSTED_SERVERS} connection strings, and {counts[namespace]} are of "
                    f"namespace {namespace!r}. Use fewer that differ, or name a connection of the scaler's settings.",
                )
            oldest = next(spec for spec, its_namespace in self._namespaces.items() if its_namespace == largest)
            del self._namespaces[oldest]
            self._untrusted.retire([oldest])
        self._namespaces.setdefault(server, namespace)
        self._namespaces.move_to_end(server)
