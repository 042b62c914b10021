"""Redis servers that ScaledObjects name by connection strings: few at one time, briefly, and nothing told of them."""

import logging
from collections.abc import Callable

from listeners.connections.spec import ConnectionSpec
from listeners.errors import SourceError, SourceUnavailableError
from scaler.measuring.sampler import Sample, Samplers
from scaler.triggers.measured_trigger import MeasuredTrigger

__all__ = ["GuardedSamplers"]

log = logging.getLogger("triggerfish.scaler")

#: Servers that strings name, at one time; of more, the one that was asked about longest ago is disconnected.
MAX_SERVERS = 100
#: Longer than KEDA's polling interval, as a rule (30 s).
IDLE_SECONDS = 300.0
#: Whoever may write a string must not learn from the answers what can be reached from here.
CONCEALED = "connectionString: Redis cannot be measured with it. The scaler's log says why, at level debug."


class GuardedSamplers(Samplers):
    """Samplers that keep what connection strings of requests name apart from the operator's own connections."""

    def __init__(self, *, bound_seconds: float, on_measured: Callable[[float, str | None], object]) -> None:
        super().__init__(bound_seconds=bound_seconds, on_measured=on_measured)

        def concealed(seconds: float, error: str | None) -> None:
            on_measured(seconds, SourceUnavailableError.reason if error is not None else None)

        self._strings = Samplers(bound_seconds=bound_seconds, on_measured=concealed, max_servers=MAX_SERVERS)

    async def sample(self, spec: ConnectionSpec, measured: MeasuredTrigger, *, fresh: bool = False) -> Sample:
        """A sample from this Redis. Raises SourceError; about a string's Redis always the same one."""
        if spec.allowed_hosts is None:
            return await super().sample(spec, measured, fresh=fresh)
        try:
            return await self._strings.sample(spec, measured, fresh=fresh)
        except SourceError as error:
            log.debug("a ScaledObject's connection string for %s: %s", spec.address, error)
            raise SourceUnavailableError(CONCEALED) from None

    def close_idle(self) -> None:
        """Disconnect from what strings named and nobody asks about any more."""
        self._strings.retire(self._strings.idle(IDLE_SECONDS))

    async def close(self) -> None:
        """Close all of them."""
        await self._strings.close()
        await super().close()
