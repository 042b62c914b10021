"""The contenders of `benchmarks.host.throughput`: processes that report when they have handled all entries.

- `triggerfish_app`: the function host
- `plain_loop`: a hand-written loop
- `tally`: counts entries and prints the report

A contender gets BENCH_PORT (a server on 127.0.0.1), BENCH_SCENARIO (`Scenario.name`) and BENCH_ENTRIES. It reads with
the scenario's delivery guarantee, calls an async handler that only counts (`Tally`), and runs until it is killed. To
add one, add a module here and a line in CONTENDERS.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.host.scenarios import Scenario

__all__ = ["CONTENDERS", "Contender"]


@dataclass(frozen=True)
class Contender:
    """A program: its `command`, the scenarios that it `can` run, and variables to add to its `environment`."""

    command: tuple[str, ...]
    can: Callable[[Scenario], bool] = lambda scenario: True
    environment: dict[str, str] = field(default_factory=dict)


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"benchmarks.host.contenders.{name}", *arguments)


APP = "benchmarks/host/contenders/triggerfish_app.py"
CONTENDERS: dict[str, Contender] = {
    "triggerfish": Contender(
        (sys.executable, "-m", "triggerfish", "run", "benchmarks/host/contenders/triggerfish_app.py")
    ),
    # A hand-written loop on asyncio's event loop that settles each entry after its call ...
    "plain": Contender(_module("plain_loop", "each")),
    # ... or a batch at once; also on uvloop.
    "grouped": Contender(_module("plain_loop", "together"), lambda scenario: scenario.settles_each),
    "grouped on uvloop": Contender(_module("plain_loop", "together", "uvloop")),
}
