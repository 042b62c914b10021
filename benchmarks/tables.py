"""Renders results as tables for the terminal and in Markdown."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.table import Table as RichTable

__all__ = ["UNKNOWN", "Table", "bullets", "spread"]

UNKNOWN = "-"


@dataclass
class Table:
    """A title, a note in Markdown, and cells of text. All columns but the first `texts` hold numbers."""

    title: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]] = field(default_factory=list)
    texts: int = 0

    def rich(self) -> RichTable:
        """Return the table for a terminal."""
        shown = RichTable(title=self.title, caption=self.note, caption_justify="left", caption_style="")
        for at, column in enumerate(self.columns):
            justify = "left" if at < self.texts else "right"
            shown.add_column(column, justify=justify, min_width=max(map(len, column.split())))  # type: ignore[arg-type]
        for row in self.rows:
            shown.add_row(*row)
        return shown

    def markdown(self) -> str:
        """Return the table as a section of a Markdown page."""
        rules = ["---" if at < self.texts else "---:" for at in range(len(self.columns))]
        body = "\n".join(f"| {' | '.join(line)} |" for line in (self.columns, rules, *self.rows))
        return f"## {self.title}\n\n{body}\n\n{self.note}\n"


def bullets(lines: Iterable[str]) -> str:
    """Return the lines as a Markdown list."""
    return "\n".join(f"- {line}" for line in lines)


def spread(ratios: Iterable[float]) -> str:
    """Return the median with the minimum and the maximum, or UNKNOWN if there are no ratios."""
    values = sorted(ratios)
    return f"{statistics.median(values):.2f} ({values[0]:.2f}-{values[-1]:.2f})" if values else UNKNOWN
