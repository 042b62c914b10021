"""One run: starts servers and hosts, produces under faults, lets the backlog settle, forces takeovers, and stops."""

import asyncio
import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from redis.exceptions import RedisError

from tests.chaos.faults.injection import host_faults, inject_faults
from tests.chaos.faults.takeovers import SentSignal, cost_of, take_over
from tests.chaos.hosts.app import POISONED_STATUS
from tests.chaos.hosts.keys import EMPTIED_STREAM, KEYS
from tests.chaos.hosts.processes import GRACE_SECONDS, Ending, Hosts
from tests.chaos.plan import Plan
from tests.chaos.producers.entries import Producer, producers
from tests.chaos.producers.messages import Publisher
from tests.chaos.records.calls import Records
from tests.chaos.records.fates import Fate, fate
from tests.chaos.records.leftovers import dead_letters, leftovers
from tests.chaos.scenarios.scenario import Scenario
from tests.chaos.verdict.evidence import Evidence
from tests.support.waiting import eventually

__all__ = ["run"]

PROGRESS_SECONDS = 10.0
#: Interval of checks for leftovers; more frequent checks would take CPU time from the hosts.
CHECK_SECONDS = 0.2
#: Time limit of each part of a run, even on a slow machine.
LIMIT_SECONDS = 900.0


async def run(
    scenario: Scenario, plan: Plan, seed: int, folder: Path, report: Callable[[str], object] = lambda line: None
) -> Evidence:
    """Run the plan. `folder` receives the hosts' logs and records; `report` is called with lines of progress.

    Raises AssertionError if a condition that the run itself needs is not met in time.
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
        return await _Run(scenario, hosts, plan, seed, folder, report).run()
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
    report: Callable[[str], object]
    began: float = field(default_factory=time.monotonic)

    async def run(self) -> Evidence:
        plan = self.plan
        producing = producers(self.scenario, plan.entries, plan.seconds, self.seed)
        publisher = Publisher(self.scenario, plan.messages_per_second)
        async with _publishing(publisher):
            faults = await self._produce_under_faults(producing)
            self._report(f"produced; {faults.total()} faults; settling")
            healed = time.monotonic()
            left = await self._settle()
            settled = time.monotonic()
            self._report(f"settled; {2 * plan.takeovers} takeovers")
            signals = await self._take_over(publisher)
        end_ns = time.monotonic_ns()
        await self.hosts.stop()
        records = Records.read(self.folder)
        return Evidence(
            seed=self.seed,
            hosts=plan.hosts,
            durable=self.scenario.durable,
            exclusive_lease=self.scenario.exclusive_lease,
            seconds=settled - self.began,
            settle_seconds=settled - healed,
            producers=producing,
            publisher=publisher,
            records=records,
            leftovers=left or await leftovers(self.scenario),
            flushed=self.scenario.flushed,
            dead_letters=await dead_letters(self.scenario),
            endings=self.hosts.endings,
            unexpected_errors=self.hosts.logged("unexpected error"),
            interrupted_begins=self.hosts.logged(": beginning with ") + self.hosts.logged(" not called alone: "),
            faults=faults + _faults_of_calls(records, self.hosts.endings, self.seed),
            costs=cost_of(signals, publisher, records, end_ns),
        )

    async def _produce_under_faults(self, producing: list[Producer]) -> Counter[str]:
        """Produce everything while faults are injected; return how often each was."""
        counts: Counter[str] = Counter()
        stop = asyncio.Event()
        rng = random.Random(f"{self.seed} hosts")
        rounds = self.plan.rounds
        async with asyncio.timeout(LIMIT_SECONDS), asyncio.TaskGroup() as group:
            host, server = self.plan.host_pause_seconds, self.plan.server_pause_seconds
            group.create_task(
                inject_faults(
                    host_faults(self.hosts, rng, self.plan.lease_seconds), rng, host, stop, counts, rounds=rounds
                )
            )
            rng = random.Random(f"{self.seed} servers")
            group.create_task(inject_faults(self.scenario.faults, rng, server, stop, counts, rounds=rounds))
            progress = group.create_task(self._report_progress(producing, counts))
            await asyncio.gather(*(producer.run() for producer in producing))
            stop.set()
            progress.cancel()
        await self.scenario.heal()
        return counts

    async def _settle(self) -> dict[str, int]:
        """Wait until nothing is left or nothing has changed for `stuck_seconds`; return what is left."""
        left = {"not known": 1}
        since = time.monotonic()

        async def nothing_left_or_stuck() -> bool:
            nonlocal left, since
            await asyncio.sleep(CHECK_SECONDS)
            before = left
            with contextlib.suppress(RedisError, OSError):
                left = await leftovers(self.scenario)
            if left != before:
                since = time.monotonic()
            return not left or time.monotonic() - since > self.plan.stuck_seconds

        await eventually(nothing_left_or_stuck, seconds=LIMIT_SECONDS)
        return left

    async def _report_progress(self, producing: list[Producer], counts: Counter[str]) -> None:
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            confirmed = sum(len(producer.confirmed) for producer in producing)
            self._report(f"{confirmed:,} entries confirmed, {counts.total()} faults")

    def _report(self, line: str) -> None:
        self.report(f"{time.monotonic() - self.began:4.0f} s  {line}")

    async def _take_over(self, publisher: Publisher) -> list[SentSignal]:
        numbers = [signal.SIGKILL, signal.SIGTERM] * self.plan.takeovers
        return [await take_over(self.scenario, self.hosts, publisher, number) for number in numbers]


def _faults_of_calls(records: Records, endings: Sequence[Ending], seed: int) -> Counter[str]:
    """Count the faults that functions cause, where a call began that may have caused them."""
    counts = Counter({"call: ends its process": sum(ending.status == POISONED_STATUS for ending in endings)})
    for key in KEYS:
        for line in records.starts(f"{key}/"):
            drawn = fate(seed, line.payload)
            if line.deliveries == 1 and drawn in (Fate.BLOCKS_LOOP, Fate.HOLDS_GIL):
                on_thread = drawn is Fate.BLOCKS_LOOP and key == EMPTIED_STREAM
                counts["call: blocks a thread" if on_thread else f"call: {drawn}"] += 1
    return counts


@asynccontextmanager
async def _publishing(publisher: Publisher) -> AsyncIterator[None]:
    """Publish messages during the block."""
    stop = asyncio.Event()
    task = asyncio.create_task(publisher.run(stop))
    try:
        yield
    finally:
        stop.set()
        await task
