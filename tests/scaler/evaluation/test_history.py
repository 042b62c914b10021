"""The backlog of the last minutes, and its chart."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from scaler.evaluation.history import SLOT_SECONDS, SLOTS, History
from scaler.web.backlog_chart import CHART_HEIGHT, CHART_WIDTH, chart

NOW = 12_345.0


def make_history(*samples: tuple[float, int | None]) -> History:
    """Return a history of samples: seconds before NOW, and the backlog."""
    history = History()
    for seconds_ago, entries in samples:
        history.add(NOW - seconds_ago, entries)
    return history


def test_the_highest_of_each_slot_is_kept() -> None:
    """A slot keeps its highest sample. It is a failure only if no sample succeeded."""
    history = make_history((20, 5), (20, 9), (20, None), (20, 1), (10, None), (0, 0))
    assert list(history.points(NOW)) == [(2, 9), (1, None), (0, 0)]


def test_old_samples_are_dropped() -> None:
    """A sample is kept for as many slots as the chart shows, and reused slots start empty."""
    history = make_history((0, 7))
    oldest = NOW + (SLOTS - 1) * SLOT_SECONDS
    assert list(history.points(oldest)) == [(SLOTS - 1, 7)]
    assert list(history.points(oldest + SLOT_SECONDS)) == []
    history.add(oldest + SLOT_SECONDS, 3)
    assert list(history.points(oldest + SLOT_SECONDS)) == [(0, 3)]
    assert list(history.points(oldest + 10**9)) == []


@given(st.lists(st.tuples(st.floats(0, 10_000), st.none() | st.integers(0, 2**70)), max_size=200))
def test_any_samples_make_a_chart_within_its_bounds(samples: list[tuple[float, int | None]]) -> None:
    """Samples of any value and time, even out of order, make at most SLOTS points and a chart within its bounds."""
    history = make_history(*samples)
    points = list(history.points(NOW))
    assert len(points) <= SLOTS
    drawn = chart(iter(points))
    for line in drawn.lines:
        for corner in line.split():
            x, y = map(float, corner.split(","))
            assert 0 <= x <= CHART_WIDTH
            assert 0 <= y <= CHART_HEIGHT


def test_the_chart() -> None:
    """Lines break at failures and long gaps between samples. The highest backlog touches the upper edge."""
    drawn = chart(iter([(40, 10), (39, 0), (38, None), (37, 5), (20, 5), (19, 10)]))
    assert drawn.lines == ("39.4,2 41.3,26", "45.3,14 45.3,14", "78.7,14 80.6,2")
    assert (drawn.failures, drawn.highest) == ((43.3,), 10)
    assert chart(iter([])).lines == ()


def test_memory_is_bounded() -> None:
    """A history takes less than a kilobyte, even after a sample per second for an hour."""
    tracemalloc.start()
    try:
        history = History()
        for number in range(3_600):
            history.add(number, number * 10**6)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 1_024
    assert len(list(history.points(3_599))) == SLOTS
