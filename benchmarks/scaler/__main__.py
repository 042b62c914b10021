"""Runs `make bench-scaler`: how fast the scaler answers KEDA, what that costs Redis, and how both grow.

An embedded Valkey, `triggerfish scaler` and this client run as separate processes. Writes tables, JSON and a plot.
"""

import argparse
import asyncio
from pathlib import Path

import redis.asyncio
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.scaler.about import about
from benchmarks.scaler.documents import write
from benchmarks.scaler.measuring import STEPS, Measuring
from benchmarks.scaler.results import Results
from benchmarks.scaler.tables import about_lines, tables
from triggerfish.testing.server import Server, embedded_binary

SIZES = (1, 1_000, 10_000)
#: The scaler remembers at most this many triggers.
MAX_SIZE = 10_000
#: The keys that one connection watches without gRPC, for each ScaledObject of the largest size.
KEYS_PER_SIZE = 10
FOLDER = Path("docs/benchmarks")
#: Lists and streams are also measured separately, at the largest size up to this.
MAX_SIZE_BY_KIND = 1_000


async def run(sizes: list[int], seconds: float, console: Console) -> Results:
    """Measure every size on one server."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Server(embedded_binary()) as server, Progress(*columns, console=console, refresh_per_second=2) as progress:
        async with redis.asyncio.Redis(port=server.port, protocol=2) as client:
            results = Results(await about(client))
            task = progress.add_task("", total=len(sizes) * len(STEPS) + 1)
            by_kind = max((size for size in sizes if 1 < size <= MAX_SIZE_BY_KIND), default=None)
            for at, size in enumerate(sizes):

                def begin(step: str, at: int = at, size: int = size) -> None:
                    done = at * len(STEPS) + STEPS.index(step)
                    progress.update(task, completed=done, description=f"{size:,} ScaledObjects: {step}")

                measuring = Measuring(server, client, results, seconds=seconds, begin=begin)
                await measuring.measure(size, by_kind=size == by_kind)
            keys = KEYS_PER_SIZE * sizes[-1]
            progress.update(task, completed=len(sizes) * len(STEPS), description=f"{keys:,} keys without gRPC")
            await measuring.measure_many_keys(keys)
            progress.update(task, completed=len(sizes) * len(STEPS) + 1, description="done")
    return results


def main() -> None:
    """Run the benchmark, print its tables and write them."""
    parser = argparse.ArgumentParser(prog="benchmarks.scaler", description=__doc__)
    parser.add_argument(
        "--sizes", type=_sizes, default=list(SIZES), help="numbers of ScaledObjects, such as 1,100,1000"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="longest duration of one measurement")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder for tables, JSON and plot")
    arguments = parser.parse_args()
    console = Console(width=120)
    results = asyncio.run(run(arguments.sizes, arguments.seconds, console))
    for line in about_lines(results):
        console.print(line)
    for table in tables(results):
        console.print(table.rich())
    write(results, arguments.folder)
    console.print(f"written to {arguments.folder}: scaler.md, scaler.json, scaler.svg")


def _sizes(text: str) -> list[int]:
    sizes = sorted({int(size) for size in text.split(",")})
    if sizes[0] < 1 or sizes[-1] > MAX_SIZE:
        raise argparse.ArgumentTypeError(f"give numbers from 1 to {MAX_SIZE:,}")
    return sizes


if __name__ == "__main__":
    main()
