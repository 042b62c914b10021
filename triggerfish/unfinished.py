"""Finds out whether an app has anything left to do, in Redis or in this process."""

import asyncio
import time
from collections.abc import Mapping

from listeners.connections.named import Connections
from listeners.errors import SourceError, SourceTimeoutError
from listeners.functions.app import App
from listeners.functions.triggers import PubSubTrigger
from listeners.host.host import Host
from listeners.runtime.logs import steady_logger
from scaler.measuring.outage import OUTAGE_SUFFIX
from scaler.measuring.samplers import Samplers
from scaler.triggers.measured_trigger import MeasuredTrigger

__all__ = ["Unfinished"]

log = steady_logger("triggerfish.host")

#: How long one measurement may take.
BOUND_SECONDS = 2.0
#: How often in a row nothing may be found before it counts: an entry may be on its way from Redis to this process.
TIMES_EMPTY = 2


class Unfinished:
    """Measures, as the scaler does, how many entries of lists and streams an app has not finished.

    All count: those that wait for their first call or for a retry, and those in progress in any instance.
    """

    def __init__(self, app: App, connections: Connections) -> None:
        self._samplers = Samplers(bound_seconds=BOUND_SECONDS, on_measured=lambda seconds, error: None)
        self._triggers = {
            name: (connections.resolve(function.trigger), MeasuredTrigger(function.trigger))
            for name, function in app.functions.items()
            if not isinstance(function.trigger, PubSubTrigger)
        }
        #: What was found last, by function: how many entries are unfinished, or why it is not known.
        self.last: dict[str, int | SourceError] = {}

    async def measure(self) -> None:
        """Measure each function's backlog. What cannot be measured is unknown, and never 0."""
        numbers = await asyncio.gather(*map(self._measure, self._triggers))
        self.last = dict(zip(self._triggers, numbers, strict=True))

    async def wait_until_empty(self, host: Host, pause_seconds: float) -> None:
        """Wait until nothing is unfinished and nothing is in progress in the host. Measure after each pause."""
        times = 0
        while times < TIMES_EMPTY:
            await asyncio.sleep(pause_seconds)
            times = times + 1 if await self._is_empty(host) else 0

    async def close(self) -> None:
        """Disconnect."""
        await self._samplers.close()

    async def _is_empty(self, host: Host) -> bool:
        if not host.ready or host.is_busy:
            return False
        unknown = _problems(self.last)
        await self.measure()
        for name, problem in _problems(self.last).items():
            if unknown.get(name) != problem:
                log.warning("%s: cannot find out whether it is empty: %s", name, problem)
        return not any(self.last.values()) and not host.is_busy

    async def _measure(self, name: str) -> int | SourceError:
        spec, trigger = self._triggers[name]
        began = time.monotonic()
        try:
            sample = await self._samplers.sample(spec, trigger, fresh=True)
        except SourceError as error:
            return error
        if sample.taken_at < began:
            return SourceTimeoutError(f"measuring {trigger.trigger.reads} takes longer than {BOUND_SECONDS:g} s")
        return sample.backlog.entries


def _problems(found: Mapping[str, int | SourceError]) -> dict[str, str]:
    """Return why functions could not be measured, in texts that stay the same during an outage."""
    errors = {name: result for name, result in found.items() if isinstance(result, SourceError)}
    return {name: str(error).partition(OUTAGE_SUFFIX)[0] for name, error in errors.items()}
