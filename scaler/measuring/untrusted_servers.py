"""Redis servers that ScaledObjects name by connection strings: bounded in number, with one error for every failure."""

from collections.abc import Callable

from listeners.connections.spec import ConnectionSpec
from listeners.errors import SourceError, SourceUnavailableError
from listeners.runtime.logs import steady_logger
from scaler.measuring.sampler import Sample, Samplers
from scaler.triggers.measured_trigger import MeasuredTrigger

__all__ = ["GuardedSamplers"]

log = steady_logger("triggerfish.scaler")

#: The maximum number of servers from connection strings. Beyond it, the least recently used one is disconnected.
MAX_SERVERS = 100
#: Idle servers are disconnected after this time. It is longer than KEDA's usual polling interval (30 s).
IDLE_SECONDS = 300.0
#: The error for every failure: a user who may write a connection string must not learn what the scaler can reach.
CONCEALED = "connectionString: This Redis cannot be measured. The scaler logs the reason at level debug."


class GuardedSamplers(Samplers):
    """Samplers that keep the servers from requests' connection strings apart from the operator's connections."""

    def __init__(self, *, bound_seconds: float, on_measured: Callable[[float, str | None], object]) -> None:
        super().__init__(bound_seconds=bound_seconds, on_measured=on_measured)

        def conceal_reason(seconds: float, error: str | None) -> None:
            on_measured(seconds, SourceUnavailableError.reason if error is not None else None)

        self._untrusted = Samplers(bound_seconds=bound_seconds, on_measured=conceal_reason, max_servers=MAX_SERVERS)

    async def sample(self, spec: ConnectionSpec, trigger: MeasuredTrigger, *, fresh: bool = False) -> Sample:
        """Return a sample from this Redis. Raises SourceError, always the same one for a connection string."""
        if spec.allowed_hosts is None:
            return await super().sample(spec, trigger, fresh=fresh)
        try:
            return await self._untrusted.sample(spec, trigger, fresh=fresh)
        except SourceError as error:
            log.debug("cannot measure %s (from a ScaledObject's connection string): %s", spec.address, error)
            raise SourceUnavailableError(CONCEALED) from None

    def close_idle(self) -> None:
        """Disconnect from servers of connection strings that are no longer used."""
        self._untrusted.retire(self._untrusted.idle(IDLE_SECONDS))

    async def close(self) -> None:
        """Close all samplers."""
        await self._untrusted.close()
        await super().close()
