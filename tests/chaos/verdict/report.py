"""Prints a verdict."""

import signal
import statistics
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.chaos.faults.takeovers import Cost
from tests.chaos.hosts.app import BATCH_SIZE
from tests.chaos.verdict.entries import BATCHES
from tests.chaos.verdict.evidence import Evidence
from tests.chaos.verdict.findings import Verdict

__all__ = ["show"]

EVIDENCE_LINES = 10


def show(evidence: Evidence, verdict: Verdict, console: Console, *, title: str) -> None:
    """Print what was verified and counted, the injected faults, and the cost of takeovers."""
    console.print(_verified(verdict, title))
    console.print(
        f"Bound of repeats: a process has at most {BATCHES * BATCH_SIZE} entries in progress. Its death or hang may "
        f"repeat these; a fault that outlasts a lease may repeat those of all {evidence.hosts} processes.\n",
        highlight=False,
    )
    counted = Table("counted", "", box=None)
    for what, number in verdict.counted.items():
        counted.add_row(what, number)
    console.print(counted, "")
    faults = Table("fault", "times", box=None)
    for name, times in sorted(evidence.faults.items()):
        faults.add_row(name, str(times))
    console.print(faults, "")
    if evidence.costs:
        console.print(_takeovers(evidence.costs), "")
    for finding in verdict.findings:
        for line in finding.evidence[:EVIDENCE_LINES]:
            console.print(f"{finding.what}: {line}", style="red", highlight=False)


def _verified(verdict: Verdict, title: str) -> Table:
    table = Table("verified", "found", "expected", "", title=title, title_justify="left")
    for finding in verdict.findings:
        mark = Text("yes", "green") if finding.good else Text("NO", "bold red")
        table.add_row(finding.what, finding.found, finding.expected, mark)
    return table


def _takeovers(costs: Sequence[Cost]) -> Table:
    """Show, by signal, the time from the signal to the first call elsewhere, and the messages that no host handled."""
    table = Table("pub/sub takeover after", "times", "seconds (median, longest)", "messages missed each", box=None)
    for number in (signal.SIGKILL, signal.SIGTERM):
        of_signal = [cost for cost in costs if cost.number is number]
        seconds = [cost.seconds for cost in of_signal if cost.seconds is not None]
        if seconds:
            times = f"{statistics.median(seconds):.2f}, {max(seconds):.2f}"
            missed = ", ".join(f"{cost.missed}" for cost in of_signal)
            table.add_row(number.name, str(len(of_signal)), times, missed)
    return table
