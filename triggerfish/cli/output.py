"""Prints tables and lines for people, and JSON for scripts."""

import io
import json
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from listeners.text import escape
from triggerfish.cli.shortened import Shortened, shorten

if TYPE_CHECKING:
    from scaler.monitoring.status import KeyStatus, TriggerStatus

__all__ = [
    "causes",
    "error_line",
    "escape_unencodable",
    "instances_line",
    "print_json",
    "print_line",
    "print_verbatim",
    "scheduled_lines",
    "stderr",
    "stdout",
    "trigger_table",
    "watched_lines",
]

#: The minimum width of a table if the output is not a terminal.
MIN_WIDTH = 120
#: How much of a name is kept, since a key may have megabytes.
MAX_CELL_WIDTH = 300
#: How many triggers a line names.
MAX_NAMES = 5
NAMES = ("scaledobject", "function", "reads")
COLUMNS = ("function", "reads", "length", "in flight", "pending", "lag", "backlog", "per worker", "target")
#: A table narrower than this leaves out the columns that need the most room for the least news.
NARROW_WIDTH = 100
LEFT_OUT = ("in flight", "pending", "per worker")


def escape_unencodable() -> None:
    """Escape what the standard output's encoding does not have, such as box characters in ASCII."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@cache
def stdout() -> Console:
    """Return the standard output, wide enough for tables."""
    console = _console()
    return console if console.is_terminal else _console(width=max(console.width, MIN_WIDTH))


@cache
def stderr() -> Console:
    """Return the standard error output."""
    return _console(stderr=True)


def _console(*, stderr: bool = False, width: int | None = None) -> Console:
    """Return a console that prints data as it is: `[red]` and `:warning:` may be parts of a key."""
    return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)


def print_line(text: str, *, label: str = "", style: str = "", console: Console | None = None) -> None:
    """Print text of any origin as one line, after a label in its own style. The terminal wraps it."""
    line = Text(label, style) + Text(escape(f" {text}" if label else text))
    (console or stdout()).print(line, soft_wrap=True)


def error_line(text: str) -> None:
    """Print a problem as one red line on the standard error output."""
    line = escape(" ".join(text.split()))  # the message of a user's module may have several
    stderr().print(line, style="red", soft_wrap=True)


def print_verbatim(line: str) -> None:
    """Print a line for other programs on the standard output: neither styled nor wrapped."""
    sys.stdout.write(f"{line}\n")


def print_json(value: Any) -> None:
    """Print a value as JSON, with nothing else on the standard output."""
    print_verbatim(json.dumps(value, indent=2))


def trigger_table(triggers: "Iterable[TriggerStatus]", width: int | None = None) -> Table:
    """Return a table with a row for each key: its backlog by part, how the lag was obtained, and the target.

    If some triggers belong to ScaledObjects, the first column has the owners. Below NARROW_WIDTH, some columns are left
    out to make room for names. `width` defaults to that of the standard output.
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


def causes(triggers: "Iterable[TriggerStatus]") -> list[Text]:
    """Return one red line for each reason why triggers cannot be measured, for below their table."""
    distinct = dict.fromkeys(status.error for status in triggers if status.error is not None)
    return [Text(escape(error), "red") for error in distinct]


def watched_lines(triggers: "Iterable[TriggerStatus]") -> list[str]:
    """Return a line for each way in which the scaler notices changes, with the triggers to which it applies."""
    labels: dict[str, list[str]] = {}
    for status in triggers:
        if status.watched is not None:
            labels.setdefault(status.watched, []).append(status.label)
    return [f"{watched}: {_enumerated(names)}" for watched, names in sorted(labels.items())]


def scheduled_lines(triggers: "Iterable[TriggerStatus]") -> list[str]:
    """Return a line for each queue with jobs whose time has not come, which are not in the table."""
    keys = [(status, key) for status in triggers for key in status.keys if key.next_due is not None]
    return [
        f"{status.label}: scheduled in {key.key}: {key.scheduled or 'some jobs'}, the next one at {key.next_due}"
        for status, key in keys
    ]


def instances_line(running: int, draining: int, target: int, crashes: int) -> RenderableType:
    """Return the instances of an app as a row of blocks."""
    blocks = Text("█" * running, "green") + Text("▒" * draining, "yellow")
    crashed = f", {crashes} crashed" if crashes else ""
    label = Text(f"\ninstances: {running} running, {draining} draining, target {target}{crashed}  ")
    return Group(label + blocks)


def _enumerated(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more


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
    if key.due is not None:
        length = f"{key.length} + {key.due} due" if key.due else str(key.length)
        return f"{reads}{' (paused)' if key.paused else ''}", length, str(key.in_flight), "-", "-"
    if key.lag is None:
        return reads, str(key.length), str(key.in_flight), "-", "-"
    how = "capped" if key.lag.capped else key.lag.how
    return reads, str(key.length), "-", str(key.pending), f"{key.lag.entries} ({how})"
