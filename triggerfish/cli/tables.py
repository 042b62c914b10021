"""Tables for people: what waits, and what should run."""

from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from listeners.text import printable
from scaler.monitoring.status import KeyStatus, TriggerStatus

__all__ = ["console_for_tables", "instances_line", "trigger_table"]

#: Where the output is no terminal, a table may be this wide.
LEAST_WIDTH = 120


COLUMNS = ("function", "reads", "length", "in flight", "pending", "lag", "backlog", "per worker", "target")


def console_for_tables() -> Console:
    """The standard output, wide enough for tables."""
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, LEAST_WIDTH))


def trigger_table(triggers: Iterable[TriggerStatus]) -> Table:
    """One row per key: its numbers, how the lag was obtained, D (messages per worker) and the target.

    If ScaledObjects ask about them, their names come first.
    """
    table = Table(box=None, header_style="bold", pad_edge=False)
    shown = list(triggers)
    owned = any(status.namespace for status in shown)
    for column in ("scaledobject", *COLUMNS) if owned else COLUMNS:
        numeric = column not in ("scaledobject", "function", "reads")
        table.add_column(column, justify="right" if numeric else "left", no_wrap=numeric)
    for status in shown:
        for number, row in enumerate(_rows(status)):
            owner = f"{status.namespace or 'declared'}/{status.scaled_object}" if number == 0 else ""
            table.add_row(*(Text(printable(cell)) for cell in ((owner, *row) if owned else row)))
    return table


def instances_line(running: int, draining: int, target: int, crashes: int) -> RenderableType:
    """A line that shows the instances as a row of marks."""
    marks = Text("█" * running, "green") + Text("▒" * draining, "yellow")
    crashed = f", {crashes} crashed" if crashes else ""
    label = Text(f"\ninstances {running} running, {draining} draining, target {target}{crashed}  ")
    return Group(label + marks)


def _rows(status: TriggerStatus) -> list[tuple[str, ...]]:
    name = status.function or status.metric_name
    per_worker = str(status.messages_per_worker or "-")
    if not status.known:
        return [(name, f"{status.reads}: {status.reason}", *["?"] * 5, per_worker, "held")]
    if status.backlog is None:
        return [(name, status.reads, *["-"] * 6, str(status.target))]
    cells = [_key_cells(key, status.reads if len(status.keys) == 1 else key.key) for key in status.keys]
    sums = (f"{status.backlog}{'+' if status.capped else ''}", per_worker, str(status.target))
    return [(name if row is cells[0] else "", *row, *(sums if row is cells[-1] else ("", "", ""))) for row in cells]


def _key_cells(key: KeyStatus, reads: str) -> tuple[str, ...]:
    if key.lag is None:
        return reads, str(key.length), str(key.in_flight), "-", "-"
    how = "capped" if key.lag.capped else key.lag.how
    return reads, str(key.length), "-", str(key.pending), f"{key.lag.entries} ({how})"
