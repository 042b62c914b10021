"""One run: start, produce, disturb, let it settle, take over, stop, judge."""

import asyncio
import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from redis.exceptions import RedisError

from tests.chaos.faults import disturb, host_faults
from tests.chaos.hosts import GRACE_SECONDS, Hosts
from tests.chaos.leftovers import dead_letters, leftovers
from tests.chaos.producers import Producer, Publisher, producers
from tests.chaos.records import Records
from tests.chaos.scenario import Scenario
from tests.chaos.takeovers import Signalled, cost_of, take_over
from tests.chaos.verdict import Evidence
from tests.support.waiting import eventually

__all__ = ["FULL", "SHORT", "Plan", "run"]

PROGRESS_SECONDS = 10.0
#: How often the servers are asked what is left; asking takes time that the hosts need.
LOOK_SECONDS = 0.2
#: No part of a run lasts longer, however slow the machine is.
LONGEST_SECONDS = 900.0


@dataclass(frozen=True)
class Plan:
    """How big a run is. Pauses are from and to so many seconds, between one fault and the next."""

    entries: int
    hosts: int
    #: Production is spread over so many seconds, if nothing holds it up; faults go on for as long.
    seconds: float
    messages_per_second: float
    lease_seconds: float
    pubsub_lease_seconds: float
    host_pause_seconds: tuple[float, float]
    server_pause_seconds: tuple[float, float]
    stop_seconds: tuple[float, float]
    #: Take-overs of the pub/sub lease by SIGKILL, and as many by SIGTERM, after the faults.
    take_overs: int
    #: After the last fault what is left must change every so often, until nothing is left.
    stuck_seconds: float
    #: How often each fault happens; None: again and again until all is produced.
    rounds: int | None = None


FULL = Plan(100_000, 4, 100.0, 100.0, 3.0, 2.0, (1.5, 4.0), (0.5, 3.0), (1.0, 6.0), 4, 45.0)
SHORT = Plan(2_000, 2, 3.0, 50.0, 1.0, 1.0, (0.5, 1.5), (0.05, 0.2), (0.3, 1.0), 0, 45.0, rounds=1)


async def run(
    scenario: Scenario, plan: Plan, seed: int, folder: Path, say: Callable[[str], object] = lambda line: None
) -> Evidence:
    """Run the plan. `folder` gets the hosts' logs and records; `say` gets a line now and then.

    Raises AssertionError if something that the run itself needs does not come about in time.
    """
    settings = {
        "CHAOS_RECORDS": str(folder),
        "CHAOS_SEED": str(seed),
        "TRIGGERFISH_HOST__LEASE_SECONDS": str(plan.lease_seconds),
        "TRIGGERFISH_HOST__PUBSUB_LEASE_SECONDS": str(plan.pubsub_lease_seconds),
        "TRIGGERFISH_HOST__GRACE_PERIOD_SECONDS": str(GRACE_SECONDS),
    }
    await scenario.start()
    hosts = Hosts(folder, {**settings, "TRIGGERFISH_CONNECTION": scenario.connection_string}, plan.hosts)
    try:
        await hosts.start()
        return await _Run(scenario, hosts, plan, seed, folder, say).run()
    finally:
        await hosts.abandon()
        await scenario.stop()


@dataclass
class _Run:
    scenario: Scenario
    hosts: Hosts
    plan: Plan
    seed: int
    folder: Path
    say: Callable[[str], object]
    began: float = field(default_factory=time.monotonic)

    async def run(self) -> Evidence:
        plan = self.plan
        producing = producers(self.scenario, plan.entries, plan.seconds, self.seed)
        publisher = Publisher(self.scenario, plan.messages_per_second)
        async with _published(publisher):
            faults = await self._under_fire(producing)
            self._tell(f"produced; {faults.total()} faults; settling")
            healed = time.monotonic()
            left = await self._settled()
            settled = time.monotonic()
            self._tell(f"settled; {2 * plan.take_overs} take-overs")
            signalled = await self._take_overs(publisher)
        end_ns = time.monotonic_ns()
        await self.hosts.stop()
        records = Records.read(self.folder)
        return Evidence(
            seed=self.seed,
            hosts=plan.hosts,
            durable=self.scenario.durable,
            seconds=settled - self.began,
            settle_seconds=settled - healed,
            producers=producing,
            publisher=publisher,
            records=records,
            leftovers=left or await leftovers(self.scenario),
            dead_letters=await dead_letters(self.scenario),
            endings=self.hosts.endings,
            unforeseen=self.hosts.logged("not foreseen"),
            faults=faults,
            costs=cost_of(signalled, publisher, records, end_ns),
        )

    async def _under_fire(self, producing: list[Producer]) -> Counter[str]:
        """Produce everything while faults happen; how often each did."""
        counts: Counter[str] = Counter()
        stop = asyncio.Event()
        rng = random.Random(f"{self.seed} hosts")
        async with asyncio.timeout(LONGEST_SECONDS), asyncio.TaskGroup() as group:
            host, server = self.plan.host_pause_seconds, self.plan.server_pause_seconds
            group.create_task(disturb(host_faults(self.hosts, rng), rng, host, stop, counts, rounds=self.plan.rounds))
            rng = random.Random(f"{self.seed} servers")
            group.create_task(disturb(self.scenario.faults, rng, server, stop, counts, rounds=self.plan.rounds))
            telling = group.create_task(self._tell_progress(producing, counts))
            await asyncio.gather(*(producer.run() for producer in producing))
            stop.set()
            telling.cancel()
        await self.scenario.heal()
        return counts

    async def _settled(self) -> dict[str, int]:
        """Wait until nothing is left, for as long as something happens; what is left in the end."""
        left = {"not known": 1}
        since = time.monotonic()

        async def nothing_left_or_stuck() -> bool:
            nonlocal left, since
            await asyncio.sleep(LOOK_SECONDS)
            before = left
            with contextlib.suppress(RedisError, OSError):
                left = await leftovers(self.scenario)
            if left != before:
                since = time.monotonic()
            return not left or time.monotonic() - since > self.plan.stuck_seconds

        await eventually(nothing_left_or_stuck, seconds=LONGEST_SECONDS)
        return left

    async def _tell_progress(self, producing: list[Producer], counts: Counter[str]) -> None:
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            confirmed = sum(len(producer.confirmed) for producer in producing)
            self._tell(f"{confirmed:,} entries confirmed, {counts.total()} faults")

    def _tell(self, line: str) -> None:
        self.say(f"{time.monotonic() - self.began:4.0f} s  {line}")

    async def _take_overs(self, publisher: Publisher) -> list[Signalled]:
        numbers = [signal.SIGKILL, signal.SIGTERM] * self.plan.take_overs
        return [await take_over(self.scenario, self.hosts, publisher, number) for number in numbers]


@asynccontextmanager
async def _published(publisher: Publisher) -> AsyncIterator[None]:
    """Messages are published during the block."""
    stop = asyncio.Event()
    publishing = asyncio.create_task(publisher.run(stop))
    try:
        yield
    finally:
        stop.set()
        await publishing
