"""`make bench-peers`: ours beside the libraries that one would pick instead, on one server, taking turns.

Installs what is missing, measures, shows tables, and writes them and a plot to docs/benchmarks.
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
    """Measure, show and write."""
    given = options().parse_args()
    console = Console(width=170)
    results = measured(chosen(given.peers), given.entries, given.rounds, given.backlog, console)
    for line in results.about:
        console.print(line)
    for table in tables(results):
        console.print(table.rich())
    write(results, given.folder)
    console.print(f"written to {given.folder}: peers.md, peers.svg")


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.peers", description=__doc__)
    parser.add_argument("--entries", type=int, default=20_000, help="for the fast ones; slow ones get a part of them")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--backlog", type=int, default=1_000_000, help="that waits while memory is looked at; 0: do not"
    )
    parser.add_argument("--peers", default="", help="FastStream,arq,...: only these beside ours; all if not given")
    parser.add_argument(
        "--folder", type=Path, default=Path("docs/benchmarks"), help="where the page and plot are written"
    )
    return parser


def chosen(peers: str) -> list[Entrant]:
    """Ours and the loop written by hand, and the peers of these names."""
    wanted = {name.strip().lower() for name in peers.split(",") if name.strip()}
    known = {one.product.lower() for one in ENTRANTS}
    if wanted - known:
        raise SystemExit(
            f"--peers {peers}: unknown: {', '.join(sorted(wanted - known))}; known: {', '.join(sorted(known))}"
        )
    always = {OURS.lower(), HAND_WRITTEN}
    return [one for one in ENTRANTS if not wanted or one.product.lower() in wanted | always]


def measured(entrants: list[Entrant], entries: int, rounds: int, backlog: int, console: Console) -> Results:
    """One session on an embedded server."""
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
