"""Scale: entries per second of 1, 2 and 4 processes that share one list or stream, beside loops written by hand.

The processes are started and warm before the backlog is there; it is handled when nothing waits on the server and
nothing is in flight. Part of `make bench`.
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

from benchmarks.contenders import CONTENDERS
from benchmarks.idle import cpu_seconds
from benchmarks.scenarios import GROUP, KEY, Scenario, fill
from benchmarks.tables import Table, spread
from benchmarks.throughput import OURS, RUN_SECONDS, START_SECONDS, NoReport, running
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
#: What a process must have handled to be warm.
WARM_ENTRIES = 500
POLL_SECONDS = 0.005

Process = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Work:
    """What the processes did together, and what the processors gave for it, in seconds."""

    entries: int
    seconds: float
    cpu_seconds: float
    server_cpu_seconds: float

    @property
    def rate(self) -> float:
        """Entries per second."""
        return self.entries / self.seconds


Found = dict[tuple[Scenario, str, int], list[Work]]


def measure(*, batches: int = BATCHES, rounds: int = ROUNDS) -> Found:
    """Measure with backlogs of so many batches, with progress on the terminal."""
    turns = [(scenario, name, number) for scenario in SCENARIOS for name in NAMES for number in NUMBERS]
    found: Found = {turn: [] for turn in turns}
    with Server(embedded_binary()) as server:
        for turn in track(turns * rounds, description="processes"):
            found[turn].append(measured(server, *turn, batches * turn[0].batch))
    return found


def measured(server: Server, scenario: Scenario, name: str, number: int, entries: int) -> Work:
    """So many processes, from a backlog to none."""
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
        return Work(entries, seconds, sum(cpu), server_cpu)


def warm_up(client: redis.Redis, scenario: Scenario, processes: Sequence[Process], what: str) -> None:
    """Give them work until each has reported, so that none starts while others are measured."""
    deadline = time.monotonic() + START_SECONDS
    with selectors.DefaultSelector() as reports:
        for process in processes:
            reports.register(process.stdout or -1, selectors.EVENT_READ)
        while reports.get_map():
            if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
                raise NoReport(f"{what}: not all of them handled {WARM_ENTRIES} entries within {START_SECONDS:g} s")
            fill(client, scenario, WARM_ENTRIES)
            for report, _ in reports.select(timeout=0.1):
                reports.unregister(report.fileobj)
    wait_until_done(client, scenario, what)


def wait_until_done(client: redis.Redis, scenario: Scenario, what: str) -> None:
    """Return when nothing waits and nothing is in flight."""
    deadline = time.monotonic() + RUN_SECONDS
    while unsettled(client, scenario) != 0:
        if time.monotonic() > deadline:
            raise NoReport(f"{what}: not done within {RUN_SECONDS:g} s")
        time.sleep(POLL_SECONDS)


def unsettled(client: redis.Redis, scenario: Scenario) -> int | None:
    """How many entries are not settled, counted by the server; None while it does not know."""
    if scenario.kind == "list":
        with client.pipeline(transaction=True) as pipeline:
            pipeline.llen(KEY)
            pipeline.zcard(inflight_key(KEY))
            return int(sum(pipeline.execute()))
    for group in client.xinfo_groups(KEY):
        if group["name"] in (GROUP, GROUP.encode()) and group["lag"] is not None:
            return int(group["lag"] + group["pending"])
    return None


def rows_of(works: Sequence[Work], alone: Sequence[Work]) -> tuple[str, ...]:
    """The figures of one number of processes; the ratios are those of runs of the same round."""
    rate = statistics.median(work.rate for work in works)
    times = "" if works is alone else spread(work.rate / one.rate for work, one in zip(works, alone, strict=True))
    cpu = statistics.median(work.cpu_seconds / work.entries * 1e6 for work in works)
    busy = statistics.median(work.server_cpu_seconds / work.seconds for work in works)
    return f"{rate:,.0f}", times, f"{cpu:.1f}", f"{busy:.0%}"


def table(found: Found) -> Table:
    """Medians."""
    return Table(
        "Processes that share a list or a stream",
        "They are warm before the backlog is there, and it is done when the server counts nothing that waits and "
        f"nothing in flight. They share {os.cpu_count()} CPUs with the server. `server busy` is its part of one CPU.",
        ("reads", "contender", "processes", "entries/s", "times one process's", "CPU s per million", "server busy"),
        [
            (scenario.described, name, str(number), *rows_of(works, found[scenario, name, 1]))
            for (scenario, name, number), works in found.items()
        ],
        texts=2,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.processes", description=__doc__)
    parser.add_argument("--batches", type=int, default=BATCHES, help="in a backlog")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    Console(width=150).print(table(measure(batches=given.batches, rounds=given.rounds)).rich())
