"""Runs `make bench`: compares the function host with hand-written loops.

Measures throughput, scaling over processes, latency, busy and idle triggers, and what an app's lifespan, context and
middleware cost. Prints tables, and writes them and a
plot to docs/benchmarks.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from rich.console import Console

from benchmarks.about import machine, versions
from benchmarks.host import busy, idle, latency, processes, surroundings, throughput
from benchmarks.host.contenders import CONTENDERS
from benchmarks.tables import Table, bullets
from triggerfish.testing.server import Server, embedded_binary

FOLDER = Path("docs/benchmarks")

HEAD = """# Function host benchmark

Written by `make bench`. [benchmarks.md](../benchmarks.md) describes what is measured, how, and what limits it.

{about}

![Entries per second](host.svg)

{tables}"""


def main(folder: Path, other: str | None = None) -> None:
    """Run all benchmarks of the host, print their tables and write them to `folder`.

    `other` is the `triggerfish` command of another version, which `busy` measures, too.
    """
    console = Console(width=150)
    with Server(embedded_binary()) as server, server.client() as client:
        about = [
            machine(),
            versions(client, "triggerfish", "redis", "hiredis", "uvloop"),
            f"{throughput.ENTRIES:,} entries of 128 bytes, {throughput.ROUNDS} interleaved rounds, an async handler "
            "that only counts",
        ]
    runs: throughput.Runs = {}
    tables = []

    def measure_throughput() -> Table:
        runs.update(throughput.measure())
        return throughput.table(runs)

    for measure in (
        measure_throughput,
        lambda: processes.table(processes.measure()),
        lambda: latency.table(latency.measure()),
        lambda: busy.table(busy.measure(other)),
        lambda: surroundings.table(surroundings.measure()),
        lambda: idle.table(idle.measure()),
    ):
        tables.append(measure())
        console.print(tables[-1].rich())  # at once: what has been measured outlives a failure of the next
    write(about, runs, tables, folder)
    console.print(f"written to {folder}: host.md, host.svg")


def write(about: list[str], runs: throughput.Runs, tables: list[Table], folder: Path) -> None:
    """Write host.md and host.svg into a folder, which is created if needed."""
    folder.mkdir(parents=True, exist_ok=True)
    draw(runs, folder / "host.svg")
    body = "\n".join(table.markdown() for table in tables)
    (folder / "host.md").write_text(HEAD.format(about=bullets(about), tables=body))


def draw(runs: throughput.Runs, path: Path) -> None:
    """Draw entries per second as bars, one group for each scenario."""
    # Keep text as text, and write the same file for the same results.
    with mpl.rc_context({"svg.hashsalt": "triggerfish", "svg.fonttype": "none"}):
        scenarios = list(dict.fromkeys(scenario for scenario, _ in runs))
        figure = Figure(figsize=(11, 1 + 0.7 * len(scenarios)), layout="constrained")
        axes = figure.subplots()
        height = 0.8 / len(CONTENDERS)
        for number, name in enumerate(CONTENDERS):
            bars = [(at, runs[scenario, name]) for at, scenario in enumerate(scenarios) if (scenario, name) in runs]
            drawn = axes.barh(
                [at + number * height for at, _ in bars],
                [throughput.median_rate(group) for _, group in bars],
                height,
                label=name,
            )
            axes.bar_label(drawn, fmt="{:,.0f}", padding=3, fontsize="x-small")
        axes.set_yticks(
            [at + 0.4 - height / 2 for at in range(len(scenarios))], [each.description for each in scenarios]
        )
        axes.invert_yaxis()
        axes.margins(x=0.1, y=0.01)
        axes.set_xlabel("entries per second of one process (median)")
        axes.legend(loc="lower right")
        figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.host", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder for the page and the plot")
    parser.add_argument("--other", metavar="COMMAND", help="the `triggerfish` command of another version")
    arguments = parser.parse_args()
    main(arguments.folder, arguments.other)
