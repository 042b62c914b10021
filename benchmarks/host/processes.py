"""Measures scaling: entries per second of 1, 2 and 4 processes that share a list or a stream.

Compares Triggerfish with a hand-written loop. The processes are warmed up before the backlog is added. A run ends when
the server has no entry that waits or is in flight. Part of `make bench`.
"""

import argparse
import contextlib
import os
import selectors
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

import redis
from rich.console import Console
from rich.progress import track

from benchmarks.host.contenders import CONTENDERS
from benchmarks.host.idle import cpu_seconds
from benchmarks.host.scenarios import GROUP, KEY, Scenario, fill
from benchmarks.host.throughput import OURS, RUN_SECONDS, START_SECONDS, NoReport, running
from benchmarks.tables import Table, spread
from listeners.keys import inflight_key
from triggerfish.testing.server import Server, embedded_binary

NUMBERS = (1, 2, 4)
SCENARIOS = [
    Scenario(kind, "at-least-once", batch, batch_calls)
    for kind in ("list", "stream")
    for batch, batch_calls in ((10, False), (100, True))
]
NAMES = (OURS, "plain")
BATCHES = 1500
ROUNDS = 3
#: Entries that warm up one process.
WARM_ENTRIES = 500
POLL_SECONDS = 0.005

Process = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Run:
    """The result of one group of processes; `cpu_seconds` is the sum over the group."""

    entries: int
    seconds: float
    cpu_seconds: float
    server_cpu_seconds: float

    @property
    def rate(self) -> float:
        """Entries per second."""
        return self.entries / self.seconds


Runs = dict[tuple[Scenario, str, int], list[Run]]


def measure(*, batches: int = BATCHES, rounds: int = ROUNDS) -> Runs:
    """Measure with backlogs of `batches` batches, with progress on the terminal."""
    cases = [(scenario, name, number) for scenario in SCENARIOS for name in NAMES for number in NUMBERS]
    runs: Runs = {case: [] for case in cases}
    with Server(embedded_binary()) as server:
        for case in track(cases * rounds, description="processes"):
            runs[case].append(measure_run(server, *case, batches * case[0].batch))
    return runs


def measure_run(server: Server, scenario: Scenario, name: str, number: int, entries: int) -> Run:
    """Let `number` processes work off a backlog of `entries`."""
    what = f"{scenario.name} with {number} of {name}"
    with server.client() as client, contextlib.ExitStack() as stack:
        client.flushall()
        processes = [
            stack.enter_context(running(server, scenario, CONTENDERS[name], WARM_ENTRIES)) for _ in range(number)
        ]
        warm_up(client, scenario, processes, what)
        pids = [server.process.pid, *(process.pid for process in processes)]
        fill(client, scenario, entries)
        began, before = time.monotonic(), [cpu_seconds(pid) for pid in pids]
        wait_until_done(client, scenario, what)
        seconds, after = time.monotonic() - began, [cpu_seconds(pid) for pid in pids]
        server_cpu, *cpu = (late - early for early, late in zip(before, after, strict=True))
        return Run(entries, seconds, sum(cpu), server_cpu)


def warm_up(client: redis.Redis, scenario: Scenario, processes: Sequence[Process], what: str) -> None:
    """Add entries until each process has reported, so that none is still starting while others are measured."""
    deadline = time.monotonic() + START_SECONDS
    with selectors.DefaultSelector() as reports:
        for process in processes:
            reports.register(process.stdout or -1, selectors.EVENT_READ)
        while reports.get_map():
            if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
                raise NoReport(f"{what}: not all processes handled {WARM_ENTRIES} entries within {START_SECONDS:g} s")
            fill(client, scenario, WARM_ENTRIES)
            for report, _ in reports.select(timeout=0.1):
                reports.unregister(report.fileobj)
    wait_until_done(client, scenario, what)


def wait_until_done(client: redis.Redis, scenario: Scenario, what: str) -> None:
    """Wait until no entry waits or is in flight."""
    deadline = time.monotonic() + RUN_SECONDS
    while unsettled(client, scenario) != 0:
        if time.monotonic() > deadline:
            raise NoReport(f"{what}: not done within {RUN_SECONDS:g} s")
        time.sleep(POLL_SECONDS)


def unsettled(client: redis.Redis, scenario: Scenario) -> int | None:
    """Return the server's count of entries that are not settled; None while the server does not know it."""
    if scenario.kind == "list":
        with client.pipeline(transaction=True) as pipeline:
            pipeline.llen(KEY)
            pipeline.zcard(inflight_key(KEY))
            return int(sum(pipeline.execute()))
    for group in client.xinfo_groups(KEY):
        if group["name"] in (GROUP, GROUP.encode()) and group["lag"] is not None:
            return int(group["lag"] + group["pending"])
    return None


def cells(runs: Sequence[Run], single: Sequence[Run]) -> tuple[str, ...]:
    """Return the figures of a number of processes; ratios compare runs of the same round with the `single` process."""
    rate = statistics.median(run.rate for run in runs)
    ratio = "" if runs is single else spread(run.rate / one.rate for run, one in zip(runs, single, strict=True))
    cpu = statistics.median(run.cpu_seconds / run.entries * 1e6 for run in runs)
    busy = statistics.median(run.server_cpu_seconds / run.seconds for run in runs)
    return f"{rate:,.0f}", ratio, f"{cpu:.1f}", f"{busy:.0%}"


def table(found: Runs) -> Table:
    """Return the medians as a table."""
    return Table(
        "Processes that share a list or a stream",
        "The processes are warmed up before the backlog is added. A run ends when the server has no entry that waits "
        f"or is in flight. The processes share {os.cpu_count()} CPUs with the server. Scaling is the rate divided by "
        "that of one process; `server busy` is the server's share of one CPU.",
        ("reads", "contender", "processes", "entries/s", "scaling", "CPU s per million", "server busy"),
        [
            (scenario.description, name, str(number), *cells(runs, found[scenario, name, 1]))
            for (scenario, name, number), runs in found.items()
        ],
        texts=2,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.host.processes", description=__doc__)
    parser.add_argument("--batches", type=int, default=BATCHES, help="number of batches in each backlog")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    Console(width=150).print(table(measure(batches=options.batches, rounds=options.rounds)).rich())
