"""Measures throughput: entries per second and CPU time per entry of Triggerfish and of hand-written loops.

Each contender is a separate process that reads a backlog on one real server. Contenders take turns, and figures are
compared within a round because the speed of a shared machine varies. Part of `make bench`.
"""

import argparse
import contextlib
import json
import os
import selectors
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track

from benchmarks.host.contenders import CONTENDERS, Contender
from benchmarks.host.scenarios import KEY, SCENARIOS, Scenario, fill
from benchmarks.tables import Table, spread
from listeners.pubsub.queue import MAX_MESSAGES
from listeners.runtime.child_processes import die_with_parent
from triggerfish.testing.server import Server, embedded_binary

ROOT = Path(__file__).parents[2]
#: The contender that the others are compared with.
OURS = "triggerfish"
RUN_SECONDS = 120.0
START_SECONDS = 30.0
#: Size of each backlog. The loop that settles entries one by one takes four seconds for it.
ENTRIES = 20_000
ROUNDS = 5


class NoReport(SystemExit):
    """A contender ended or took too long, so the benchmark cannot finish."""


@dataclass(frozen=True)
class Run:
    """The report of one process."""

    entries: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Entries per second."""
        return self.entries / self.seconds

    @property
    def cpu_per_million(self) -> float:
        """CPU seconds per million entries, without those of the server."""
        return self.cpu_seconds / self.entries * 1e6


Runs = dict[tuple[Scenario, str], list[Run]]


def measure(
    scenarios: Sequence[Scenario] = tuple(SCENARIOS),
    contenders: Sequence[str] = tuple(CONTENDERS),
    *,
    entries: int = ENTRIES,
    rounds: int = ROUNDS,
) -> Runs:
    """Run the contenders in turns, with progress on the terminal."""
    pairs = [(s, name) for s in scenarios for name in contenders if CONTENDERS[name].can(s)]
    found: Runs = {pair: [] for pair in pairs}
    with Server(embedded_binary(), "--client-output-buffer-limit", "pubsub 0 0 0") as server:
        for number in track(range(rounds), description="throughput"):
            for scenario, name in pairs if number % 2 == 0 else reversed(pairs):
                found[scenario, name].append(measure_run(server, scenario, CONTENDERS[name], entries))
    return found


def measure_run(server: Server, scenario: Scenario, contender: Contender, entries: int) -> Run:
    """Run one process from its start to its report.

    Publishes at most MAX_MESSAGES messages, because Triggerfish drops messages that exceed its queue.
    """
    entries = min(entries, MAX_MESSAGES) if scenario.kind == "pubsub" else entries
    with server.client() as client:
        client.flushall()
        if scenario.kind != "pubsub":
            fill(client, scenario, entries)
        with running(server, scenario, contender, entries) as process:
            if scenario.kind == "pubsub":
                deadline = time.monotonic() + START_SECONDS
                while client.pubsub_numsub(KEY)[0][1] == 0 and time.monotonic() < deadline:
                    time.sleep(0.05)
                fill(client, scenario, entries)
            return Run(**json.loads(first_line(process, f"{scenario.name} with {' '.join(contender.command)}")))


@contextlib.contextmanager
def running(
    server: Server, scenario: Scenario, contender: Contender, entries: int
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a contender's process during the block."""
    variables = {"BENCH_PORT": str(server.port), "BENCH_SCENARIO": scenario.name, "BENCH_ENTRIES": str(entries)}
    process = subprocess.Popen(  # noqa: S603  (our own command line)
        contender.command,
        cwd=ROOT,
        env={**os.environ, "TRIGGERFISH_CONNECTION": server.address, **variables, **contender.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent(),  # noqa: PLW1509  (it makes one system call)
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def first_line(process: "subprocess.Popen[bytes]", what: str) -> bytes:
    """Return the first line that the process prints. Raise NoReport if it ends or takes too long."""
    if process.stdout is None:
        raise RuntimeError("the process was started without a pipe")
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        line = process.stdout.readline() if selector.select(RUN_SECONDS) else b""
    if not line:
        raise NoReport(f"{what} did not report within {RUN_SECONDS:g} s")
    return line


def median_rate(runs: Sequence[Run]) -> float:
    """Return the median of the entries per second."""
    return statistics.median(run.rate for run in runs)


def table(found: Runs) -> Table:
    """Return medians; ratios compare runs of the same round."""
    rows = []
    for (scenario, name), runs in found.items():
        cpu = statistics.median(run.cpu_per_million for run in runs)
        pairs = [] if name == OURS else list(zip(found[scenario, OURS], runs, strict=True))
        speed_up = spread(own.rate / run.rate for own, run in pairs)
        cpu_ratio = spread(run.cpu_per_million / own.cpu_per_million for own, run in pairs)
        rows.append((scenario.description, name, f"{median_rate(runs):,.0f}", f"{cpu:.1f}", speed_up, cpu_ratio))
    return Table(
        "Throughput of one process",
        "Medians, with minimum and maximum in brackets. `plain` settles each entry after its call; `grouped` settles a "
        "batch at once. CPU is that of the process, without the server. Speed-up is Triggerfish's rate divided by the "
        "contender's; CPU ratio is the contender's CPU time per entry divided by Triggerfish's.",
        ("reads", "contender", "entries/s", "CPU s per million", "speed-up", "CPU ratio"),
        rows,
        texts=2,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.host.throughput", description=__doc__)
    parser.add_argument("--entries", type=int, default=ENTRIES, help="number of entries in each backlog")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", default="", help="run only scenarios whose name contains this text")
    parser.add_argument("--with", dest="contenders", default=",".join(CONTENDERS), help="comma-separated contenders")
    options = parser.parse_args()
    chosen = [scenario for scenario in SCENARIOS if options.only in scenario.name]
    names = [OURS, *(name for name in options.contenders.split(",") if name != OURS)]
    Console(width=150).print(table(measure(chosen, names, entries=options.entries, rounds=options.rounds)).rich())
