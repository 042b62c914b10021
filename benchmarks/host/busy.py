"""Measures one host with 1, 20 and 100 busy triggers, beside another version of Triggerfish if one is given.

Each trigger has a backlog of its own. The versions take turns, and their runs of one round are compared.
"""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from benchmarks.host.app_run import OWN_COMMAND, run_app
from benchmarks.host.throughput import Run
from benchmarks.tables import UNKNOWN, Table, spread
from triggerfish.testing.server import Server, embedded_binary

APP = Path(__file__).with_name("busy_app.py")
KINDS = ("list", "stream")
NUMBERS = (1, 20, 100)
ENTRIES = 60_000
ROUNDS = 3
OURS, OTHER = "this version", "the other version"
VALUE = b"x" * 100


Runs = dict[tuple[str, int, str], list[Run]]


def measure(other: str | None = None, *, entries: int = ENTRIES, rounds: int = ROUNDS) -> Runs:
    """Measure each kind and number of triggers, with progress on the terminal.

    `other` is the `triggerfish` command of another version's environment.
    """
    commands = {OURS: OWN_COMMAND, **({OTHER: (other,)} if other else {})}
    cases = [(kind, number, name) for kind in KINDS for number in NUMBERS for name in commands]
    runs: Runs = {case: [] for case in cases}
    with Server(embedded_binary()) as server:
        for kind, number, name in track(cases * rounds, description="busy"):
            runs[kind, number, name].append(measure_run(server, commands[name], kind, number, entries))
    return runs


def measure_run(server: Server, command: Sequence[str], kind: str, number: int, entries: int) -> Run:
    """Let one host work off a backlog that its triggers share equally."""
    each = entries // number
    fill(server, kind, number, each)
    variables = {"BUSY_KIND": kind, "BUSY_TRIGGERS": str(number), "BUSY_ENTRIES": str(each * number)}
    return run_app(APP, server, variables, command)


def fill(server: Server, kind: str, number: int, each: int) -> None:
    """Replace what is on the server by a backlog of each key."""
    with server.client() as client:
        client.flushall()
        for at in range(number):
            with client.pipeline(transaction=False) as pipeline:
                if kind == "list":
                    pipeline.rpush(f"busy:{at}", *[VALUE] * each)
                for _ in range(each if kind == "stream" else 0):
                    pipeline.xadd(f"busy:{at}", {"message": VALUE})
                pipeline.execute()


def table(runs: Runs) -> Table:
    """Return the medians as a table. Ratios compare this version with the other one, round by round."""
    rows = []
    entries = max(run.entries for found in runs.values() for run in found)
    for (kind, number, name), found in runs.items():
        others = runs.get((kind, number, OTHER), []) if name == OURS else []
        pairs = list(zip(found, others, strict=False))
        rows.append(
            (
                kind,
                str(number),
                name,
                f"{statistics.median(run.rate for run in found):,.0f}",
                f"{statistics.median(run.cpu_per_million for run in found):.1f}",
                spread(run.rate / other.rate for run, other in pairs) if pairs else UNKNOWN,
                spread(run.cpu_per_million / other.cpu_per_million for run, other in pairs) if pairs else UNKNOWN,
            )
        )
    return Table(
        "Busy triggers",
        f"One host whose triggers share a backlog of {entries:,} entries, batches of 16, an async handler that only "
        "counts. Speed-up and CPU ratio are those of this version divided by the other one's.",
        ("kind", "triggers", "contender", "entries/s", "CPU s per million", "speed-up", "CPU ratio"),
        rows,
        texts=1,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.host.busy", description=__doc__)
    parser.add_argument("--other", metavar="COMMAND", help="the `triggerfish` command of another version")
    parser.add_argument("--entries", type=int, default=ENTRIES, help="entries of each run")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="runs of each case")
    arguments = parser.parse_args()
    found = measure(arguments.other, entries=arguments.entries, rounds=arguments.rounds)
    Console(width=150).print(table(found).rich())
