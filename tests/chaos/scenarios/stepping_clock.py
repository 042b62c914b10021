"""One server whose clock steps forward and back.

A step forward ends leases early, so the pub/sub lease may have two holders for a moment.
"""

import random
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.chaos.scenarios.scenario import DURABLE, Fault
from tests.chaos.scenarios.standalone import Standalone
from tests.servers.catalogue import Release
from tests.servers.stepping_clock import SteppingClock
from triggerfish.testing.server import Server

__all__ = ["WithSteppingClock"]

STEP_SECONDS = (2, 60)


class WithSteppingClock(Standalone):
    """A standalone server under libfaketime."""

    exclusive_lease = False

    def __init__(self, rng: random.Random, *, release: str, stop_seconds: tuple[float, float]) -> None:
        super().__init__(rng, release=release, stop_seconds=stop_seconds)
        self.name = f"standalone {release}, stepping clock"
        self._folder = tempfile.TemporaryDirectory(prefix="triggerfish-clock-")
        self._clock = SteppingClock(Path(self._folder.name))
        self._offset_seconds = 0

    def _start_server(self, release: Release) -> Server:
        return self._clock.start(release, *DURABLE)

    @property
    def faults(self) -> Mapping[str, Fault]:
        steps = {"clock: step forward": self._step_forward, "clock: step back": self._step_back}
        return {**super().faults, **steps}

    async def stop(self) -> None:
        await super().stop()
        self._folder.cleanup()

    async def _step_forward(self) -> None:
        self._step(self._rng.randint(*STEP_SECONDS))

    async def _step_back(self) -> None:
        self._step(-self._rng.randint(*STEP_SECONDS))

    def _step(self, seconds: int) -> None:
        self._offset_seconds += seconds
        self._clock.step(self._offset_seconds)
