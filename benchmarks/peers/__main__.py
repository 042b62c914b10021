"""Runs `make bench-peers`: compares Triggerfish with other libraries, in turns on one server.

Installs missing peers, measures, prints tables, and writes them and a plot to docs/benchmarks.
"""

import argparse
from pathlib import Path

from rich.console import Console

from benchmarks.peers.about import about
from benchmarks.peers.backlog import DATABASES
from benchmarks.peers.document import write
from benchmarks.peers.entrants import ENTRANTS, HAND_WRITTEN, OURS, Entrant
from benchmarks.peers.results import Results
from benchmarks.peers.session import Session
from benchmarks.peers.tables import tables
from triggerfish.testing.server import Server, embedded_binary

SETTINGS = ("--client-output-buffer-limit", "pubsub 0 0 0", "--databases", str(DATABASES))


def main() -> None:
    """Run the benchmark, print its tables and write them."""
    options = parser().parse_args()
    console = Console(width=170)
    results = measure(chosen(options.peers), options.entries, options.rounds, options.backlog, console)
    for line in results.about:
        console.print(line)
    for table in tables(results):
        console.print(table.rich())
    write(results, options.folder)
    console.print(f"written to {options.folder}: peers.md, peers.svg")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    arguments = argparse.ArgumentParser(prog="benchmarks.peers", description=__doc__)
    arguments.add_argument(
        "--entries", type=int, default=20_000, help="number of entries for fast products; slow ones get a fraction"
    )
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument(
        "--backlog",
        type=int,
        default=1_000_000,
        help="size of the backlog while memory is measured; 0 skips memory",
    )
    arguments.add_argument("--peers", default="", help="compare with these peers only, such as FastStream,arq")
    arguments.add_argument(
        "--folder", type=Path, default=Path("docs/benchmarks"), help="folder for the page and the plot"
    )
    return arguments


def chosen(peers: str) -> list[Entrant]:
    """Return Triggerfish, the hand-written loop and the peers with these names; all peers if there are none."""
    wanted = {name.strip().lower() for name in peers.split(",") if name.strip()}
    known = {one.product.lower() for one in ENTRANTS}
    if wanted - known:
        raise SystemExit(
            f"invalid --peers {peers!r}: unknown {', '.join(sorted(wanted - known))}; "
            f"choose from {', '.join(sorted(known))}"
        )
    always = {OURS.lower(), HAND_WRITTEN}
    return [one for one in ENTRANTS if not wanted or one.product.lower() in wanted | always]


def measure(entrants: list[Entrant], entries: int, rounds: int, backlog: int, console: Console) -> Results:
    """Run one session on an embedded server."""
    with Server(embedded_binary(), *SETTINGS) as server:
        workers = list(dict.fromkeys(one.worker for one in entrants if one.worker))
        results = Results(about(server, workers, entries=entries, rounds=rounds), {one: [] for one in entrants})
        session = Session(server, results, console, entries=entries)
        session.install()
        session.fill()
        session.measure(rounds)
        if backlog:
            session.measure_memory(backlog)
    return results


if __name__ == "__main__":
    main()
