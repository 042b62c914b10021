"""Chart: moved out of another file; say what belongs here."""

from collections.abc import Iterator
from dataclasses import dataclass

from scaler.evaluation.history import SLOTS

__all__ = ["Chart", "chart"]

#: Samples that are further apart are not joined: what was between is not known. KEDA asks every 15 to 30 s.
MAX_GAP_SLOTS = 6
CHART_WIDTH, CHART_HEIGHT = 120, 28
MARGIN = 2.0


@dataclass(frozen=True)
class Chart:
    """A line chart, from the oldest sample at the left to now at the right.

    `lines`: the corners of each unbroken line, as SVG has them, within CHART_WIDTH and CHART_HEIGHT. `failures`: where
    on the x axis the backlog could not be measured. `highest`: the backlog at the upper edge.
    """

    lines: tuple[str, ...]
    failures: tuple[float, ...]
    highest: int


def chart(points: Iterator[tuple[int, int | None]]) -> Chart:
    """The chart of a history's points."""
    known: list[list[tuple[int, int]]] = []
    failures: list[float] = []
    last: int | None = None
    for ago, entries in points:
        if entries is None:
            failures.append(_x(ago))
            last = None
            continue
        if last is None or last - ago > MAX_GAP_SLOTS:
            known.append([])
        known[-1].append((ago, entries))
        last = ago
    highest = max((entries for line in known for _, entries in line), default=0)
    return Chart(tuple(_corners(line, highest) for line in known), tuple(failures), highest)


def _corners(line: list[tuple[int, int]], highest: int) -> str:
    """The line's corners; a single point is given twice, which draws a dot."""
    drawn = line if len(line) > 1 else line * 2
    return " ".join(f"{_x(ago):g},{_y(entries, highest):g}" for ago, entries in drawn)


def _x(ago: int) -> float:
    return round(CHART_WIDTH - MARGIN - ago * (CHART_WIDTH - 2 * MARGIN) / (SLOTS - 1), 1)


def _y(entries: int, highest: int) -> float:
    return round(CHART_HEIGHT - MARGIN - entries / max(highest, 1) * (CHART_HEIGHT - 2 * MARGIN), 1)
