"""Runs `make queues`: holds the scaler against the queues of other libraries, on Redis and Valkey.

Installs missing libraries, runs each on each server, and writes the table to docs/benchmarks.
"""

import argparse
import asyncio
from pathlib import Path

import redis.asyncio
from rich.console import Console

from benchmarks.about import machine
from benchmarks.queues.document import Row, table, write
from benchmarks.queues.environments import install
from benchmarks.queues.libraries import LIBRARIES, Library
from benchmarks.queues.processes import Failed
from benchmarks.queues.questions import asking
from benchmarks.queues.run import Result, run
from benchmarks.scaler.process import running_scaler
from tests.servers.catalogue import RELEASES, Release

SERVERS = ("redis-7.2", "valkey-9.1")


def main() -> None:
    """Run all, print the table and write it."""
    options = parser().parse_args()
    console = Console(width=170)
    lines = [machine(), f"{options.jobs} jobs of 0.2 s"]
    failures: dict[str, str] = {}
    libraries = [one for one in chosen(options.libraries) if _installed(one, failures, console)]
    rows = []
    for library in libraries:
        for name in options.servers.split():
            console.print(f"{library.name} on {name} ...")
            try:
                rows.append(Row(library, name, asyncio.run(measure(library, RELEASES[name], options.jobs))))
            except Failed as failure:
                failures[f"{library.name} on {name}"] = str(failure)
    console.print(table(rows, failures).rich())
    write(options.folder, lines, table(rows, failures))
    console.print(f"written to {options.folder}: queues.md")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    arguments = argparse.ArgumentParser(prog="benchmarks.queues", description=__doc__)
    arguments.add_argument("--jobs", type=int, default=120)
    arguments.add_argument("--libraries", default="", help='run these programs only, such as "celery rq"')
    arguments.add_argument("--servers", default=" ".join(SERVERS), help="run on these servers of the catalogue")
    arguments.add_argument("--folder", type=Path, default=Path("docs/benchmarks"), help="folder for the page")
    return arguments


def chosen(programs: str) -> list[Library]:
    """Return the modes of the libraries with these programs; all if none is named."""
    wanted, known = set(programs.lower().split()), {one.program for one in LIBRARIES}
    if unknown := wanted - known:
        raise SystemExit(
            f"invalid --libraries {programs!r}: unknown {', '.join(sorted(unknown))}; "
            f"choose from {', '.join(sorted(known))}"
        )
    return [one for one in LIBRARIES if not wanted or one.program in wanted]


async def measure(library: Library, release: Release, jobs: int) -> Result:
    """Run a library on a new server of this release, beside a scaler in a process."""
    with release.start() as server:
        async with (
            running_scaler(server.address) as scaler,
            asking(scaler.address, library.metadata) as ask,
            redis.asyncio.Redis(port=server.port, protocol=2) as client,
        ):
            return await run(library, client, f"redis://{server.address}/0", ask, jobs)


def _installed(library: Library, failures: dict[str, str], console: Console) -> bool:
    with console.status(f"installing {library.program}"):
        reason = install(library.program)
    if reason:
        failures[library.name] = reason
    return not reason


if __name__ == "__main__":
    main()
