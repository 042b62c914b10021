"""The backlog of the last minutes, and its chart."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from scaler.evaluation.history import SLOT_SECONDS, SLOTS, History
from scaler.web.backlog_chart import CHART_HEIGHT, CHART_WIDTH, chart

NOW = 12_345.0


def history(*samples: tuple[float, int | None]) -> History:
    """A history of samples: seconds before NOW, and the backlog."""
    made = History()
    for seconds_ago, entries in samples:
        made.add(NOW - seconds_ago, entries)
    return made


def test_the_highest_of_each_slot_is_kept() -> None:
    """Of samples in one slot the highest counts, and a failure only where nothing else is known."""
    made = history((20, 5), (20, 9), (20, None), (20, 1), (10, None), (0, 0))
    assert list(made.points(NOW)) == [(2, 9), (1, None), (0, 0)]


def test_what_is_old_is_forgotten() -> None:
    """A sample is kept for the time that the chart shows, and no longer; slots are not used twice."""
    made = history((0, 7))
    oldest = NOW + (SLOTS - 1) * SLOT_SECONDS
    assert list(made.points(oldest)) == [(SLOTS - 1, 7)]
    assert list(made.points(oldest + SLOT_SECONDS)) == []
    made.add(oldest + SLOT_SECONDS, 3)
    assert list(made.points(oldest + SLOT_SECONDS)) == [(0, 3)]
    assert list(made.points(oldest + 10**9)) == []


@given(st.lists(st.tuples(st.floats(0, 10_000), st.none() | st.integers(0, 2**70)), max_size=200))
def test_any_samples_make_a_chart_within_its_edges(samples: list[tuple[float, int | None]]) -> None:
    """Whatever was measured and when, also out of order: at most SLOTS points, and a chart that stays inside."""
    made = history(*samples)
    points = list(made.points(NOW))
    assert len(points) <= SLOTS
    drawn = chart(iter(points))
    for line in drawn.lines:
        for corner in line.split():
            x, y = map(float, corner.split(","))
            assert 0 <= x <= CHART_WIDTH
            assert 0 <= y <= CHART_HEIGHT


def test_the_chart() -> None:
    """Lines break where nothing could be measured or nobody asked for long; the highest touches the upper edge."""
    drawn = chart(iter([(40, 10), (39, 0), (38, None), (37, 5), (20, 5), (19, 10)]))
    assert drawn.lines == ("39.4,2 41.3,26", "45.3,14 45.3,14", "78.7,14 80.6,2")
    assert (drawn.failures, drawn.highest) == ((43.3,), 10)
    assert chart(iter([])).lines == ()


def test_memory_is_bounded() -> None:
    """A history takes less than a kilobyte, after a hundred samples a second for an hour too."""
    tracemalloc.start()
    try:
        made = History()
        for number in range(3_600):
            made.add(number, number * 10**6)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 1_024
    assert len(list(made.points(3_599))) == SLOTS
