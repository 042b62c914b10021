"""A fake of KEDA's loop: it polls a scaler, and starts and stops workers of a library as KEDA and the HPA would."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import grpc

from benchmarks.queues.libraries import Library
from benchmarks.queues.processes import Program, running
from scaler.local.scaling_behavior import ScalingBehavior
from tests.support.running_scaler import Keda

__all__ = ["KedaLoop", "keda_loop"]

POLL_SECONDS = 0.05


@dataclass
class KedaLoop:
    """The workers of one ScaledObject. Like pods, those that are too many get SIGTERM, and may finish their jobs."""

    keda: Keda
    measured: Library
    url: str
    metadata: Mapping[str, str]
    behavior: ScalingBehavior
    workers: list[Program] = field(default_factory=list)
    #: The number of answers so far, and the highest number of workers.
    polls: int = 0
    peak: int = 0
    #: The exit statuses of the workers that were stopped.
    statuses: list[int] = field(default_factory=list)
    _programs: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    _stopping: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def stopping(self) -> int:
        """The number of workers that have got SIGTERM and have not exited."""
        return len(self._stopping)

    async def run(self) -> None:
        """Poll until cancelled. While the scaler does not know the backlog, nothing changes."""
        async with self._programs:
            while True:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await self._poll()
                await asyncio.sleep(POLL_SECONDS)

    async def _poll(self) -> None:
        target = await self.keda.target(self.metadata)
        active = await self.keda.active(self.metadata)
        wanted = self.behavior.wanted(time.monotonic(), len(self.workers), target, active=active)
        while len(self.workers) < wanted:
            self.workers.append(await self._programs.enter_async_context(running(self.measured, "work", self.url)))
        for worker in self.workers[wanted:]:
            self.workers.remove(worker)
            stopping = asyncio.create_task(self._stop(worker))
            self._stopping.add(stopping)
            stopping.add_done_callback(self._stopping.discard)
        self.peak = max(self.peak, len(self.workers))
        self.polls += 1

    async def _stop(self, worker: Program) -> None:
        self.statuses.append(await worker.stop())


@contextlib.asynccontextmanager
async def keda_loop(
    keda: Keda, library: Library, url: str, max_replicas: int, cooldown_seconds: float
) -> AsyncIterator[KedaLoop]:
    """Scale a library's workers during the block, by one worker for each `library.slots` jobs."""
    metadata = {
        **library.metadata,
        "function": "job",
        "messagesPerWorker": str(library.slots),
        "maxInstances": str(max_replicas),
    }
    behavior = ScalingBehavior(0, max_replicas, cooldown_seconds, cooldown_seconds)
    loop = KedaLoop(keda, library, url, metadata, behavior)
    polling = asyncio.create_task(loop.run())
    try:
        yield loop
    finally:
        polling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await polling
