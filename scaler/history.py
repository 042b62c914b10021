"""The backlog of a trigger over the last minutes, in bounded memory, and its chart. Pure."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["HISTORY_SECONDS", "Chart", "History", "chart"]

#: One number is kept for so long a time: the highest backlog in it.
SLOT_SECONDS = 10.0
SLOTS = 60
HISTORY_SECONDS = SLOT_SECONDS * SLOTS

#: Samples that are further apart are not joined: what was between is not known. KEDA asks every 15 to 30 s.
MAX_GAP_SLOTS = 6

MAX_ENTRIES = 2**63 - 1
_NOTHING, _FAILED = -1, -2

CHART_WIDTH, CHART_HEIGHT = 120, 28
MARGIN = 2.0


class History:
    """The highest backlog of each slot over the last HISTORY_SECONDS: half a kilobyte, however often it is added to.

    Times are seconds on a clock that only goes forward.
    """

    __slots__ = ("_newest", "_slots")

    def __init__(self) -> None:
        self._slots = array("q", [_NOTHING]) * SLOTS
        self._newest = 0

    def add(self, now: float, entries: int | None) -> None:
        """Take note of a backlog; None: it could not be measured."""
        self._advance(now)
        value = _FAILED if entries is None else min(entries, MAX_ENTRIES)
        place = self._newest % SLOTS
        kept = self._slots[place]
        self._slots[place] = value if kept == _NOTHING else max(kept, value)

    def points(self, now: float) -> Iterator[tuple[int, int | None]]:
        """What is known, oldest first: how many slots ago, and the backlog (None: it could not be measured)."""
        self._advance(now)
        for ago in reversed(range(SLOTS)):
            value = self._slots[(self._newest - ago) % SLOTS]
            if value != _NOTHING:
                yield ago, None if value == _FAILED else value

    def _advance(self, now: float) -> None:
        slot = int(now / SLOT_SECONDS)
        for passed in range(max(self._newest + 1, slot - SLOTS + 1), slot + 1):
            self._slots[passed % SLOTS] = _NOTHING
        self._newest = max(self._newest, slot)


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
