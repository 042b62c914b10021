"""What commands print: tables and lines for people, JSON for scripts."""

import json
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from listeners.text import printable

if TYPE_CHECKING:
    from scaler.monitoring.status import KeyStatus, TriggerStatus

__all__ = ["error_line", "instances_line", "print_json", "print_line", "stderr", "stdout", "trigger_table"]

#: Where the output is no terminal, a table may be this wide.
LEAST_WIDTH = 120
MAX_LINE_CHARACTERS = 1000
COLUMNS = ("function", "reads", "length", "in flight", "pending", "lag", "backlog", "per worker", "target")


@cache
def stdout() -> Console:
    """The standard output, wide enough for tables."""
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, LEAST_WIDTH))


@cache
def stderr() -> Console:
    """The standard error output."""
    return Console(stderr=True)


def print_line(text: str, *, console: Console | None = None, max_characters: int = MAX_LINE_CHARACTERS) -> None:
    """Print text of any origin as one line."""
    line = printable(text, max_characters)
    (console or stdout()).print(line, markup=False, highlight=False, soft_wrap=True)


def error_line(text: str) -> None:
    """Print a problem as one red line on the standard error output."""
    line = printable(" ".join(text.split()), MAX_LINE_CHARACTERS)  # the message of a user's module may have several
    stderr().print(line, style="red", markup=False, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a value as JSON, with nothing else on the standard output."""
    stdout().print(json.dumps(value, indent=2), markup=False, highlight=False, soft_wrap=True)


def trigger_table(triggers: "Iterable[TriggerStatus]") -> Table:
    """One row for each key: its numbers, how the lag was obtained, the messages per worker and the target.

    Where ScaledObjects ask for the triggers, their names come first.
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
    """The instances of an app as a row of blocks."""
    blocks = Text("█" * running, "green") + Text("▒" * draining, "yellow")
    crashed = f", {crashes} crashed" if crashes else ""
    label = Text(f"\ninstances: {running} running, {draining} draining, target {target}{crashed}  ")
    return Group(label + blocks)


def _rows(status: "TriggerStatus") -> list[tuple[str, ...]]:
    name = status.function or status.metric_name
    per_worker = str(status.messages_per_worker or "-")
    if not status.known:
        return [(name, f"{status.reads}: {status.reason}", *["?"] * 5, per_worker, "held")]
    if status.backlog is None:
        return [(name, status.reads, *["-"] * 6, str(status.target))]
    cells = [_key_cells(key, status.reads if len(status.keys) == 1 else key.key) for key in status.keys]
    sums = (f"{status.backlog}{'+' if status.capped else ''}", per_worker, str(status.target))
    return [(name if row is cells[0] else "", *row, *(sums if row is cells[-1] else ("", "", ""))) for row in cells]


def _key_cells(key: "KeyStatus", reads: str) -> tuple[str, ...]:
    if key.lag is None:
        return reads, str(key.length), str(key.in_flight), "-", "-"
    how = "capped" if key.lag.capped else key.lag.how
    return reads, str(key.length), "-", str(key.pending), f"{key.lag.entries} ({how})"
