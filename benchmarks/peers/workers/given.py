"""What a worker program is told."""

import os
import sys
from collections.abc import Callable

from benchmarks.scenarios import Scenario

__all__ = ["ENTRIES", "URL", "perform", "scenario"]

URL = os.environ.get("BENCH_URL", "redis://127.0.0.1:6379/0")
ENTRIES = int(os.environ.get("BENCH_ENTRIES", "1"))


def scenario() -> Scenario:
    """What is read, and how many at one time."""
    return Scenario.from_environment()


def perform(*, fill: Callable[[], object], work: Callable[[], object]) -> None:
    """Do what the command line says."""
    {"fill": fill, "work": work}[sys.argv[1]]()
