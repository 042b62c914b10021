"""The machine, the date and the versions that results belong to."""

import re

from benchmarks.about import machine, versions
from benchmarks.peers.environments import REQUIREMENTS
from triggerfish.testing.server import Server

__all__ = ["about"]

#: The requirement that a file is named for, if it is another than the file's name.
NAMED = {"taskiq": "taskiq-redis"}


def about(server: Server, workers: list[str], *, entries: int, rounds: int) -> list[str]:
    """Lines for the page."""
    with server.client() as client:
        ours = versions(client, "triggerfish", "redis", "hiredis", "uvloop")
    return [
        machine(),
        ours,
        "Peers: " + ", ".join(_pinned(worker) for worker in workers),
        f"{rounds} rounds; {entries:,} entries of 128 bytes for the fast, down to a fiftieth of that for the slow",
    ]


def _pinned(worker: str) -> str:
    name = NAMED.get(worker, worker)
    found = re.search(rf"^{name}==(.*)$", (REQUIREMENTS / f"{worker}.txt").read_text(), re.MULTILINE)
    return f"{name} {found[1]}" if found else name
