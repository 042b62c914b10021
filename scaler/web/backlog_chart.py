"""Draws a trigger's recent backlog as the lines of an SVG chart."""

from collections.abc import Iterator
from dataclasses import dataclass

from scaler.evaluation.history import SLOTS

__all__ = ["Chart", "chart"]

#: Samples further apart than this are not joined, since the backlog between them is unknown. KEDA polls every 15 to
#: 30 s.
MAX_GAP_SLOTS = 6
CHART_WIDTH, CHART_HEIGHT = 120, 28
MARGIN = 2.0


@dataclass(frozen=True)
class Chart:
    """A line chart, from the oldest sample on the left to now on the right.

    `lines`: the points of each unbroken line in SVG syntax, within CHART_WIDTH and CHART_HEIGHT. `failures`: positions
    on the x axis where the backlog could not be measured. `highest`: the backlog at the upper edge.
    """

    lines: tuple[str, ...]
    failures: tuple[float, ...]
    highest: int


def chart(points: Iterator[tuple[int, int | None]]) -> Chart:
    """Return the chart of a history's points."""
    lines: list[list[tuple[int, int]]] = []
    failures: list[float] = []
    last: int | None = None
    for ago, entries in points:
        if entries is None:
            failures.append(_x(ago))
            last = None
            continue
        if last is None or last - ago > MAX_GAP_SLOTS:
            lines.append([])
        lines[-1].append((ago, entries))
        last = ago
    highest = max((entries for line in lines for _, entries in line), default=0)
    return Chart(tuple(_svg_points(line, highest) for line in lines), tuple(failures), highest)


def _svg_points(line: list[tuple[int, int]], highest: int) -> str:
    """Return the line's points in SVG syntax. A single point is repeated, which draws a dot."""
    points = line if len(line) > 1 else line * 2
    return " ".join(f"{_x(ago):g},{_y(entries, highest):g}" for ago, entries in points)


def _x(ago: int) -> float:
    return round(CHART_WIDTH - MARGIN - ago * (CHART_WIDTH - 2 * MARGIN) / (SLOTS - 1), 1)


def _y(entries: int, highest: int) -> float:
    return round(CHART_HEIGHT - MARGIN - entries / max(highest, 1) * (CHART_HEIGHT - 2 * MARGIN), 1)
