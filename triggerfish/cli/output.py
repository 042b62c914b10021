"""What commands print: tables and lines for people, JSON for scripts."""

import json
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from listeners.text import escape, printable
from triggerfish.cli.shortened import Shortened, shorten

if TYPE_CHECKING:
    from scaler.monitoring.status import KeyStatus, TriggerStatus

__all__ = ["error_line", "instances_line", "print_json", "print_line", "stderr", "stdout", "trigger_table"]

#: Where the output is no terminal, a table may be this wide.
LEAST_WIDTH = 120
MAX_LINE_CHARACTERS = 1000
#: How much of a name is kept, since a key may have megabytes.
MAX_CELL_WIDTH = 300
NAMES = ("scaledobject", "function", "reads")
COLUMNS = ("function", "reads", "length", "in flight", "pending", "lag", "backlog", "per worker", "target")
#: A table narrower than this leaves out the columns that need the most room for the least news.
NARROW_WIDTH = 100
LEFT_OUT = ("in flight", "pending", "per worker")


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


def trigger_table(triggers: "Iterable[TriggerStatus]", width: int | None = None) -> Table:
    """One row for each key: its numbers, how the lag was obtained, the messages per worker and the target.

    Where ScaledObjects ask for the triggers, their names come first. Below NARROW_WIDTH, some columns are left out to
    make room for names. `width` is by default that of the standard output.
    """
    shown = list(triggers)
    rows: list[dict[str, str]] = []
    for status in shown:
        for number, row in enumerate(_rows(status)):
            owner = f"{status.namespace or 'declared'}/{status.scaled_object}" if number == 0 else ""
            shortened = (shorten(escape(cell), MAX_CELL_WIDTH) for cell in (owner, *row))
            rows.append(dict(zip(("scaledobject", *COLUMNS), shortened, strict=True)))
    left_out = LEFT_OUT if (width or stdout().width) < NARROW_WIDTH else ()
    owned = ("scaledobject",) if any(status.namespace for status in shown) else ()
    columns = {name: {row[name] for row in rows} for name in (*owned, *COLUMNS) if name not in left_out}
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, justify="left" if name in NAMES else "right", no_wrap=name not in NAMES)
    for cells in rows:
        known = ((name, cells[name], column) for name, column in columns.items())
        table.add_row(*(Shortened(cell, column) if name in NAMES else Text(cell) for name, cell, column in known))
    return table


def instances_line(running: int, draining: int, target: int, crashes: int) -> RenderableType:
    """The instances of an app as a row of blocks."""
    blocks = Text("█" * running, "green") + Text("▒" * draining, "yellow")
    crashed = f", {crashes} crashed" if crashes else ""
    label = Text(f"\ninstances: {running} running, {draining} draining, target {target}{crashed}  ")
    return Group(label + blocks)


def _rows(status: "TriggerStatus") -> list[tuple[str, ...]]:
    name = status.label
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
