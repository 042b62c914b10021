"""Results as tables: for a terminal and for a page."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.table import Table as RichTable

__all__ = ["UNKNOWN", "Table", "bullets", "spread"]

UNKNOWN = "-"


@dataclass
class Table:
    """A title, what it says of itself (Markdown), and cells of text; all but the first `texts` columns are numbers."""

    title: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]] = field(default_factory=list)
    texts: int = 0

    def rich(self) -> RichTable:
        """For a terminal."""
        shown = RichTable(title=self.title, caption=self.note, caption_justify="left", caption_style="")
        for at, column in enumerate(self.columns):
            justify = "left" if at < self.texts else "right"
            shown.add_column(column, justify=justify, min_width=max(map(len, column.split())))  # type: ignore[arg-type]
        for row in self.rows:
            shown.add_row(*row)
        return shown

    def markdown(self) -> str:
        """For a page."""
        rules = ["---" if at < self.texts else "---:" for at in range(len(self.columns))]
        body = "\n".join(f"| {' | '.join(line)} |" for line in (self.columns, rules, *self.rows))
        return f"## {self.title}\n\n{body}\n\n{self.note}\n"


def bullets(lines: Iterable[str]) -> str:
    """Lines as a list, for a note."""
    return "\n".join(f"- {line}" for line in lines)


def spread(ratios: Iterable[float]) -> str:
    """The median, and between what it lies; UNKNOWN of nothing."""
    found = sorted(ratios)
    return f"{statistics.median(found):.2f} ({found[0]:.2f}-{found[-1]:.2f})" if found else UNKNOWN
