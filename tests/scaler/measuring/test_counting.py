"""Counting in pages, whose size depends on what they take the server."""

from listeners.redis.server_info import ServerInfo
from scaler.measuring.backlog import KeyBacklog
from scaler.measuring.counting import COUNT_SECONDS, StreamMeasurement
from scaler.measuring.lag import Lag
from scaler.measuring.queries import Reply, StreamQuery

QUERY = StreamQuery("s", "g", 10_000)


def measurement() -> StreamMeasurement:
    """Return the measurement of a stream whose group is in its middle, after its first step."""
    measurement = StreamMeasurement(QUERY, ServerInfo(), needs_pages=True, expected_seconds=0.0)
    measurement.take(Reply([[None, 9_000, [0, b"5-0", None, None], [1, b"6-0"], [1, b"1-0"]]], 0.00003))
    return measurement


def take_page(measurement: StreamMeasurement, seconds: float) -> int:
    """Answer the next step with full pages. Returns their size."""
    size = int(measurement.call().arguments[-1])
    measurement.take(Reply([[None, 9_000, [size, b"7-0"], [size, b"2-0"]]], seconds))
    return size


def test_pages_are_sized_by_time() -> None:
    """Pages grow while steps are short, and shrink to one entry where entries are huge."""
    counting = measurement()
    assert [take_page(counting, seconds) for seconds in (0.0001, 0.005, 0.04, 0.5)] == [10, 100, 200, 50]
    huge = measurement()
    assert [take_page(huge, seconds) for seconds in (0.3, 0.01)] == [10, 1]


def test_a_count_ends_when_it_has_taken_the_server_long() -> None:
    """A count that took the server too long is a lower bound, marked as capped."""
    counting = measurement()
    entries = 1
    while counting.result is None:
        entries += take_page(counting, COUNT_SECONDS / 3)
    assert isinstance(counting.result, KeyBacklog)
    assert counting.result.lag == Lag(entries, "counted", capped=True)
