"""Who is measured by `benchmarks.throughput`: each a process of its own that reports when it has handled everything.

A contender gets BENCH_PORT (a server on 127.0.0.1), BENCH_SCENARIO (`Scenario.name`) and BENCH_ENTRIES, reads with as
much care as the scenario says, calls an async handler that does nothing but count (`Tally`), and goes on until it is
killed. To add one: a module here, and a line in CONTENDERS.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.scenarios import Scenario

__all__ = ["CONTENDERS", "Contender"]


@dataclass(frozen=True)
class Contender:
    """`command` starts it; `can` says which scenarios it knows; `environment` is added to the process's own."""

    command: tuple[str, ...]
    can: Callable[[Scenario], bool] = lambda scenario: True
    environment: dict[str, str] = field(default_factory=dict)


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"benchmarks.contenders.{name}", *arguments)


CONTENDERS: dict[str, Contender] = {
    "triggerfish": Contender((sys.executable, "-m", "triggerfish", "run", "benchmarks/contenders/triggerfish_app.py")),
    # What one would write by hand, on the loop that Python has: each entry is settled after its call ...
    "plain": Contender(_module("plain_loop", "each")),
    # ... or all that were taken together, and on uvloop.
    "grouped": Contender(_module("plain_loop", "together"), lambda scenario: scenario.settles_each),
    "grouped on uvloop": Contender(_module("plain_loop", "together", "uvloop")),
}
