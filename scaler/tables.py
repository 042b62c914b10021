"""Tables for people: what waits, and what should run."""

from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from listeners.triggers import PolledTrigger
from scaler.backlog import KeyBacklog
from scaler.evaluation import Watched

__all__ = ["console_for_tables", "instances_line", "trigger_table"]

#: Where the output is no terminal, a table may be this wide.
LEAST_WIDTH = 120

COLUMNS = ("function", "reads", "length", "in flight", "pending", "lag", "backlog", "per worker", "target")


def console_for_tables() -> Console:
    """The standard output, wide enough for tables."""
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, LEAST_WIDTH))


def trigger_table(watched: Iterable[Watched], *, title: str | None = None) -> Table:
    """One row per key: its numbers, how the lag was obtained, D (messages per worker) and the target."""
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column in COLUMNS:
        numeric = column not in ("function", "reads")
        table.add_column(column, justify="right" if numeric else "left", no_wrap=numeric)
    for one in watched:
        for row in _rows(one):
            table.add_row(*row)
    return table


def instances_line(running: int, draining: int, target: int, crashes: int) -> RenderableType:
    """A line that shows the instances as a row of marks."""
    marks = Text("█" * running, "green") + Text("▒" * draining, "yellow")
    crashed = f", {crashes} crashed" if crashes else ""
    label = Text(f"\ninstances {running} running, {draining} draining, target {target}{crashed}  ")
    return Group(label + marks)


def _rows(watched: Watched) -> list[tuple[str, ...]]:
    scaled, last = watched.scaled, watched.last
    trigger = scaled.trigger
    name = scaled.function or scaled.metric_name
    if not watched.known or last is None:
        unknown = watched.error or "not measured yet"
        return [(name, f"{trigger.reads}: {unknown}", *["?"] * 5, _per_worker(watched), "held")]
    if last.backlog is None:
        return [(name, trigger.reads, *["-"] * 6, str(last.target))]
    keys = last.backlog.keys
    cells = [_key_cells(key, trigger.reads if len(keys) == 1 else key.key) for key in keys]
    more = "+" if last.backlog.capped else ""
    sums = (f"{last.backlog.entries}{more}", _per_worker(watched), str(last.target))
    return [(name if row is cells[0] else "", *row, *(sums if row is cells[-1] else ("", "", ""))) for row in cells]


def _key_cells(key: KeyBacklog, reads: str) -> tuple[str, ...]:
    if key.lag is None:
        return reads, str(key.length), str(key.in_flight), "-", "-"
    how = "capped" if key.lag.capped else key.lag.how
    return reads, str(key.length), "-", str(key.pending), f"{key.lag.entries} ({how})"


def _per_worker(watched: Watched) -> str:
    trigger = watched.scaled.trigger
    return str(trigger.messages_per_worker) if isinstance(trigger, PolledTrigger) else "-"
