"""Runs `make chaos`: injects random faults for minutes and checks that every confirmed entry was handled."""

import argparse
import asyncio
import dataclasses
import random
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos.plan import FULL, Plan
from tests.chaos.run import run
from tests.chaos.scenarios.flushed import FlushedServer
from tests.chaos.scenarios.on_cluster import OnCluster
from tests.chaos.scenarios.scenario import Scenario
from tests.chaos.scenarios.standalone import Standalone
from tests.chaos.scenarios.stepping_clock import WithSteppingClock
from tests.chaos.scenarios.under_sentinel import UnderSentinel
from tests.chaos.verdict.judge import judge
from tests.chaos.verdict.report import show
from tests.servers.catalogue import RELEASES
from tests.servers.stepping_clock import STEPPABLE
from triggerfish.cli.output import stdout

#: Fewer entries, because nothing is confirmed while a replica is down.
FAILOVER_ENTRIES = 20_000
#: Factories by name; each takes the random generator of the faults, the servers' release and the plan.
SCENARIOS: dict[str, Callable[[random.Random, str, Plan], Scenario]] = {
    "standalone": lambda rng, release, plan: Standalone(rng, release=release, stop_seconds=plan.stop_seconds),
    "clock": lambda rng, release, plan: WithSteppingClock(rng, release=release, stop_seconds=plan.stop_seconds),
    "flush": lambda rng, release, plan: FlushedServer(rng, release=release, stop_seconds=plan.stop_seconds),
    "sentinel": lambda rng, release, _: UnderSentinel(rng, release=release),
    "cluster": lambda rng, release, _: OnCluster(rng, release=release),
}


async def main(scenario: Scenario, plan: Plan, seed: int, repeat: str, keep: bool) -> int:
    """Run, judge and print the result, with the command that `repeat`s it.

    Return 0 if every guarantee held; otherwise return 1 and keep the records.
    """
    console = stdout()
    folder = Path(tempfile.mkdtemp(prefix=f"triggerfish-chaos-{seed}-"))
    console.print(f"{repeat}: {scenario.name}, {plan.entries:,} entries, {plan.hosts} hosts; records in {folder}")
    began = time.monotonic()
    evidence = await run(scenario, plan, seed, folder, console.print)
    verdict = judge(evidence)
    title = f"Chaos, seed {seed}, {scenario.name}: {'passed' if verdict.good else 'FAILED'}"
    show(evidence, verdict, console, title=f"{title} after {time.monotonic() - began:.0f} s")
    if verdict.good and not keep:
        shutil.rmtree(folder)
        return 0
    console.print(f"Repeat with: {repeat}. Logs and records: {folder}")
    return 0 if verdict.good else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="seed of every random choice; random by default")
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), default="standalone")
    parser.add_argument("--release", choices=sorted(RELEASES), default="valkey-9.1", help="release of the servers")
    parser.add_argument("--entries", type=int, default=None, help="default 100,000; 20,000 with failovers")
    parser.add_argument("--keep", action="store_true", help="keep logs and records of a successful run")
    options = parser.parse_args()
    if options.scenario == "clock" and options.release not in STEPPABLE:
        parser.error(f"--scenario clock: {options.release} does not run under libfaketime; use {', '.join(STEPPABLE)}")
    chosen_seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    entries = options.entries or (FAILOVER_ENTRIES if options.scenario in ("sentinel", "cluster") else FULL.entries)
    scaled_plan = dataclasses.replace(FULL, entries=entries, seconds=FULL.seconds * entries / FULL.entries)
    chosen = SCENARIOS[options.scenario](random.Random(f"{chosen_seed} scenario"), options.release, scaled_plan)
    command = f"make chaos SEED={chosen_seed} SCENARIO={options.scenario} RELEASE={options.release} ENTRIES={entries}"
    sys.exit(asyncio.run(main(chosen, scaled_plan, chosen_seed, command, options.keep)))
