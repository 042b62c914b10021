"""The parameters of a worker program, from its environment and its command line."""

import os
import sys
from collections.abc import Callable

from benchmarks.host.scenarios import Scenario

__all__ = ["ENTRIES", "URL", "perform", "scenario"]

URL = os.environ.get("BENCH_URL", "redis://127.0.0.1:6379/0")
ENTRIES = int(os.environ.get("BENCH_ENTRIES", "1"))


def scenario() -> Scenario:
    """Return the scenario: the source and the concurrency."""
    return Scenario.from_environment()


def perform(*, fill: Callable[[], object], work: Callable[[], object]) -> None:
    """Run the action that the command line names."""
    {"fill": fill, "work": work}[sys.argv[1]]()
