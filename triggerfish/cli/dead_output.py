"""How `triggerfish dead` prints dead letters: their texts are those of producers and exceptions, so all is escaped."""

import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from listeners.dead_letters.letters import DeadLetter, UnreadableLetter
from listeners.text import printable
from triggerfish.cli.output import stdout

if TYPE_CHECKING:
    from listeners.dead_letters.store import Summary

__all__ = ["letter_as_json", "letter_table", "print_letter", "summary_as_json", "summary_table", "totals_line"]

UNREADABLE = "unreadable: no dead letter, or damaged"


def letter_table(letters: Iterable[DeadLetter | UnreadableLetter]) -> Table:
    """One row for each letter."""
    table = _table("id", "when", "key", "deliveries", "error")
    for letter in letters:
        if isinstance(letter, UnreadableLetter):
            cells = (letter.id, "-", letter.key, "-", UNREADABLE)
        else:
            cells = (letter.id, _when(letter.time_ms), letter.key, str(letter.entry.deliveries), letter.error)
        _add_row(table, *cells)
    return table


def totals_line(totals: dict[str, int]) -> str:
    """How many dead letters each key has. Several functions may read a key."""
    return ", ".join(f"{key} has {total} in all" for key, total in totals.items())


def print_letter(letter: DeadLetter | UnreadableLetter) -> None:
    """Print all there is to know about a letter."""
    if isinstance(letter, UnreadableLetter):
        _print_field("id", letter.id)
        _print_field("key", letter.key)
        _print_field("error", UNREADABLE)
        return
    _print_field("when", _when(letter.time_ms))
    _print_field("key", letter.key)
    _print_field("id", letter.entry.id or "-")
    _print_field("deliveries", str(letter.entry.deliveries))
    _print_field("error", letter.error)
    _print_field("raised at", letter.where or "-")
    if letter.traceback:
        _print_field("traceback", "")
        for line in letter.traceback.rstrip("\n").split("\n"):
            _print_whole(f"    {line}")
    text = _entry_text(letter)
    _print_field("entry", "-" if text is None else text)


def letter_as_json(letter: DeadLetter | UnreadableLetter, *, full: bool = False) -> dict[str, Any]:
    """A letter for scripts; with `full`, its traceback and entry too."""
    if isinstance(letter, UnreadableLetter):
        return {"id": letter.id, "key": letter.key, "readable": False}
    return {
        "id": letter.id,
        "readable": True,
        "timeMs": letter.time_ms,
        "key": letter.key,
        "entryId": letter.entry.id,
        "deliveries": letter.entry.deliveries,
        "error": letter.error,
        "where": letter.where,
        **({"traceback": letter.traceback, "entry": _entry_text(letter)} if full else {}),
    }


def summary_table(summaries: "Iterable[tuple[str, Summary]]") -> Table:
    """One row for each function and key."""
    table = _table("function", "key", "letters", "oldest", "newest", "most frequent error")
    for function, summary in summaries:
        letters = f"{summary.letters}{f' + {summary.unreadable} unreadable' if summary.unreadable else ''}"
        error = "-" if summary.error is None else f"{summary.error} ({summary.error_letters} times)"
        _add_row(table, function, summary.key, letters, _age(summary.oldest_ms), _age(summary.newest_ms), error)
    return table


def summary_as_json(function: str, summary: "Summary") -> dict[str, Any]:
    """A summary for scripts."""
    return {
        "function": function,
        "key": summary.key,
        "letters": summary.letters,
        "unreadable": summary.unreadable,
        "oldestMs": summary.oldest_ms,
        "newestMs": summary.newest_ms,
        "mostFrequentError": summary.error,
        "mostFrequentErrorLetters": summary.error_letters,
    }


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column == "id")
    return table


def _add_row(table: Table, *cells: str) -> None:
    table.add_row(*(Text(printable(cell)) for cell in cells))


def _print_field(name: str, value: str) -> None:
    _print_whole(f"{name + ':':<11} {value}".rstrip())


def _print_whole(line: str) -> None:
    stdout().print(Text(printable(line, sys.maxsize)), soft_wrap=True)


def _entry_text(letter: DeadLetter) -> str | None:
    """The entry as text, or None if it was lost before it was dead-lettered."""
    if letter.entry.payload is None and not letter.entry.flat_fields:
        return None
    return letter.entry.body().decode(errors="backslashreplace")


def _when(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _age(time_ms: int | None) -> str:
    """How long ago a time was, in the largest unit."""
    if time_ms is None:
        return "-"
    seconds = max(0, int(time.time() - time_ms / 1000))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"
