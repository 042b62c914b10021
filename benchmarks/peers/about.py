"""Describes the machine, the date and the versions of a run."""

import re

from benchmarks.about import machine, versions
from benchmarks.peers.environments import REQUIREMENTS
from triggerfish.testing.server import Server

__all__ = ["about"]

#: The package that a requirements file is about, where its name differs from the file's.
PACKAGES = {"taskiq": "taskiq-redis"}


def about(server: Server, workers: list[str], *, entries: int, rounds: int) -> list[str]:
    """Return the lines that describe the run on the page."""
    with server.client() as client:
        ours = versions(client, "triggerfish", "redis", "hiredis", "uvloop")
    return [
        machine(),
        ours,
        "Peers: " + ", ".join(_pinned(worker) for worker in workers),
        f"{rounds} rounds; {entries:,} entries of 128 bytes for fast products, down to 1/50 of that for slow ones",
    ]


def _pinned(worker: str) -> str:
    name = PACKAGES.get(worker, worker)
    found = re.search(rf"^{name}==(.*)$", (REQUIREMENTS / f"{worker}.txt").read_text(), re.MULTILINE)
    return f"{name} {found[1]}" if found else name
