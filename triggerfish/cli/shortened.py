"""Cells of a table that stay distinguishable where there is little room."""

from collections.abc import Set

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

__all__ = ["Shortened", "shorten"]

#: The width below which a table does not shorten a cell.
LEAST_WIDTH = 12
ELLIPSIS = "…"


class Shortened:
    """A text that is shortened in the middle, since keys often share a prefix.

    `column`: all texts of its column. If another one would look the same, the text takes several lines instead.
    """

    def __init__(self, text: str, column: Set[str]) -> None:
        self._text = text
        self._column = column

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        width = cell_len(self._text)
        return Measurement(min(width, LEAST_WIDTH), width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = shorten(self._text, options.max_width)
        alike = any(other != self._text and shorten(other, options.max_width) == shown for other in self._column)
        yield Text(self._text, overflow="fold") if alike else Text(shown, no_wrap=True)


def shorten(text: str, width: int) -> str:
    """Return a text that takes at most `width` columns of a terminal, without its middle if it is longer."""
    if cell_len(text) <= width:
        return text
    kept = max(width - 1, 0)
    start, end = text[: kept // 2], text[len(text) - (kept - kept // 2) :]
    while cell_len(start) + cell_len(end) >= width and (start or end):  # wide characters
        start, end = start[:-1], end[1:]
    return f"{start}{ELLIPSIS}{end}"
