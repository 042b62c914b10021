"""`make chaos`: random faults for some minutes, and whether everything confirmed was handled."""

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

from tests.chaos.on_cluster import OnCluster
from tests.chaos.report import show
from tests.chaos.run import FULL, Plan, run
from tests.chaos.scenario import Scenario
from tests.chaos.standalone import Standalone
from tests.chaos.under_sentinel import UnderSentinel
from tests.chaos.verdict import judge
from tests.servers.catalogue import RELEASES
from triggerfish.cli.output import stdout

#: While a replica is away nothing is confirmed.
FAIL_OVER_ENTRIES = 20_000
#: By name, made of what decides the faults, the release of the servers, and the plan.
SCENARIOS: dict[str, Callable[[random.Random, str, Plan], Scenario]] = {
    "standalone": lambda rng, release, plan: Standalone(rng, release=release, stop_seconds=plan.stop_seconds),
    "sentinel": lambda rng, release, _: UnderSentinel(rng, release=release),
    "cluster": lambda rng, release, _: OnCluster(rng, release=release),
}


async def main(scenario: Scenario, plan: Plan, seed: int, repeat: str, keep: bool) -> int:
    """Run, print and judge, and say how to `repeat` it; 0 if all is as promised. If it is not, the records are kept."""
    console = stdout()
    folder = Path(tempfile.mkdtemp(prefix=f"triggerfish-chaos-{seed}-"))
    console.print(f"{repeat}: {scenario.name}, {plan.entries:,} entries, {plan.hosts} hosts; records in {folder}")
    began = time.monotonic()
    evidence = await run(scenario, plan, seed, folder, console.print)
    verdict = judge(evidence)
    title = f"Chaos, seed {seed}, {scenario.name}: {'good' if verdict.good else 'NOT GOOD'}"
    show(evidence, verdict, console, title=f"{title} after {time.monotonic() - began:.0f} s")
    if verdict.good and not keep:
        shutil.rmtree(folder)
        return 0
    console.print(f"Again: {repeat}. Logs and records: {folder}")
    return 0 if verdict.good else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="decides every fault; by chance if it is not given")
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), default="standalone")
    parser.add_argument("--release", choices=sorted(RELEASES), default="valkey-9.1", help="of the servers")
    parser.add_argument("--entries", type=int, default=None, help="100,000; with fail-overs, which take long, 20,000")
    parser.add_argument("--keep", action="store_true", help="leave logs and records where they are")
    given = parser.parse_args()
    chosen = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    entries = given.entries or (FULL.entries if given.scenario == "standalone" else FAIL_OVER_ENTRIES)
    scaled = dataclasses.replace(FULL, entries=entries, seconds=FULL.seconds * entries / FULL.entries)
    made = SCENARIOS[given.scenario](random.Random(f"{chosen} scenario"), given.release, scaled)
    again = f"make chaos SEED={chosen} SCENARIO={given.scenario} RELEASE={given.release}"
    sys.exit(asyncio.run(main(made, scaled, chosen, again, given.keep)))
