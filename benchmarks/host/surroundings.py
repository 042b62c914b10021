"""Measures what a lifespan, a context and middleware cost: one list function with a backlog, with and without them.

The apps take turns, and the runs of one round are compared. Part of `make bench`.
"""

import argparse
import statistics
from pathlib import Path

from rich.console import Console
from rich.progress import track

from benchmarks.host.app_run import run_app
from benchmarks.host.surroundings_app import KEY, VARIANTS
from benchmarks.host.throughput import Run
from benchmarks.tables import UNKNOWN, Table, spread
from triggerfish.testing.server import Server, embedded_binary

APP = Path(__file__).with_name("surroundings_app.py")
BARE = next(iter(VARIANTS))
ENTRIES = 30_000
ROUNDS = 5
VALUE = b"x" * 100

Runs = dict[str, list[Run]]


def measure(*, entries: int = ENTRIES, rounds: int = ROUNDS) -> Runs:
    """Measure each variant, with progress on the terminal."""
    runs: Runs = {name: [] for name in VARIANTS}
    with Server(embedded_binary()) as server:
        for name in track(list(VARIANTS) * rounds, description="surroundings"):
            runs[name].append(measure_run(server, name, entries))
    return runs


def measure_run(server: Server, variant: str, entries: int) -> Run:
    """Let one host work off a backlog."""
    with server.client() as client:
        client.flushall()
        client.rpush(KEY, *[VALUE] * entries)
    return run_app(APP, server, {"BENCH_ENTRIES": str(entries), "BENCH_VARIANT": variant})


def table(runs: Runs) -> Table:
    """Return the medians as a table. Ratios compare each variant with the bare function, round by round."""
    rows = []
    for name, found in runs.items():
        pairs = [] if name == BARE else list(zip(found, runs[BARE], strict=True))
        rows.append(
            (
                name,
                f"{statistics.median(run.rate for run in found):,.0f}",
                f"{statistics.median(run.cpu_per_million for run in found):.1f}",
                spread(run.cpu_per_million / bare.cpu_per_million for run, bare in pairs) if pairs else UNKNOWN,
            )
        )
    return Table(
        "Lifespan, context and middleware",
        "One list function that only counts, an entry per call, batches of 100. CPU ratio is the CPU time per entry "
        "divided by that of the bare function. Seconds per million entries are microseconds per call.",
        ("the app has", "entries/s", "CPU s per million", "CPU ratio"),
        rows,
        texts=1,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.host.surroundings", description=__doc__)
    parser.add_argument("--entries", type=int, default=ENTRIES, help="entries of each run")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="runs of each variant")
    arguments = parser.parse_args()
    measured = measure(entries=arguments.entries, rounds=arguments.rounds)
    Console(width=150).print(table(measured).rich())
