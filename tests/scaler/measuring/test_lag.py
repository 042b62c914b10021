"""The lag of a consumer group is exact after any history of its stream."""

import asyncio
import os
from collections.abc import Iterator

import pytest
import redis
from hypothesis import HealthCheck, given, settings

from listeners.connections.strings import parse_connection_string
from listeners.functions.triggers import StreamTrigger
from listeners.redis.client import Client
from listeners.redis.server_info import ServerInfo
from scaler.evaluation.target import instances_for
from scaler.measuring.backlog import Backlog, KeyBacklog
from scaler.measuring.counting import StreamMeasurement
from scaler.measuring.lag import Lag
from scaler.measuring.queries import Reply, StreamQuery
from scaler.measuring.slow_lane import SlowLane
from scaler.triggers.measured_trigger import MeasuredTrigger
from tests.scaler.measuring.histories import GROUP, STREAM, Step, histories, play, undelivered
from tests.support.measuring import measure_now, new_slow_lane
from triggerfish.testing.server import Server

HISTORIES = int(os.environ.get("TEST_HISTORIES", "300"))
MEASURED = MeasuredTrigger(StreamTrigger(keys=(STREAM,), consumer_group=GROUP))


class Meter:
    """Measures a server from synchronous tests."""

    def __init__(self, server: Server) -> None:
        self.client = server.client()
        self._runner = asyncio.Runner()
        self._async_client = Client(parse_connection_string(server.address), "test")
        self._server = self._runner.run(self._async_client.server())

    def measure(self, measured: MeasuredTrigger = MEASURED, slow_lane: SlowLane | None = None) -> Backlog:
        """Return the current backlog. An error fails the test."""
        measuring = measure_now(self._async_client, [measured], server=self._server, slow_lane=slow_lane)
        result = self._runner.run(measuring)[measured]
        assert isinstance(result, Backlog), result
        return result

    def slow_lane(self) -> SlowLane:
        """Return a slow lane that knows no stream."""
        return new_slow_lane(self._async_client)

    def close(self) -> None:
        self._runner.run(self._async_client.aclose())
        self._runner.close()
        self.client.close()


@pytest.fixture
def meter(server: Server) -> Iterator[Meter]:
    """A meter for the release's server."""
    meter = Meter(server)
    yield meter
    meter.close()


@pytest.mark.timeout(300)
def test_random_histories_are_measured_exactly(meter: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
    """After any history of adding, deleting, trimming, reading and moving the group, pending and lag are exact."""
    monkeypatch.setattr("scaler.measuring.known_streams.KEPT_MULTIPLE", 0)
    monkeypatch.setattr("scaler.measuring.counting.MAX_PAGE", 3)  # so that counting takes several steps

    @settings(max_examples=HISTORIES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(history=histories)
    def measured_exactly(history: list[Step]) -> None:
        play(meter.client, history)
        slow_lane = meter.slow_lane()
        for _ in range(2):  # unknown, and known to be cheap or to need counting
            key = meter.measure(slow_lane=slow_lane).keys[0]
            assert key.lag is not None
            assert not key.lag.capped
            assert (key.pending, key.lag.entries) == undelivered(meter.client)

    measured_exactly()


def fill(client: "redis.Redis", count: int, *, first: int = 1) -> None:
    """Add entries 1-0, 2-0, ..."""
    with client.pipeline(transaction=False) as pipeline:
        for number in range(first, first + count):
            pipeline.execute_command("XADD", STREAM, f"{number}-0", "f", "v")
        pipeline.execute()


def read(client: "redis.Redis", count: int, *, acknowledge: bool = True) -> None:
    """Read entries as the group, and acknowledge them or leave them pending."""
    reply = client.execute_command("XREADGROUP", "GROUP", GROUP, "c", "COUNT", count, "STREAMS", STREAM, ">")
    if acknowledge:
        client.xack(STREAM, GROUP, *(entry_id for entry_id, _ in reply[0][1]))


def prepare(client: "redis.Redis", count: int, *, position: str = "0") -> None:
    """Create a stream of `count` entries, and a group at a position."""
    fill(client, count)
    client.execute_command("XGROUP", "CREATE", STREAM, GROUP, position, "MKSTREAM")


def test_an_undelivered_entry_that_was_deleted_does_not_count(meter: Meter) -> None:
    """Of 100 entries 10 are acknowledged and an undelivered one is deleted: the backlog is 89."""
    prepare(meter.client, 100)
    read(meter.client, 10)
    meter.client.xdel(STREAM, "50-0")
    assert meter.measure().entries == 89


def test_entries_that_were_read_and_not_acknowledged_count(meter: Meter) -> None:
    """Of 100 entries all are read and none is acknowledged: the backlog is 100."""
    prepare(meter.client, 100)
    read(meter.client, 100, acknowledge=False)
    assert meter.measure().entries == 100


def test_a_trim_past_the_group_leaves_the_remaining_entries(meter: Meter) -> None:
    """Of 100 entries 10 are read and 80 trimmed: the backlog is 20, and after reading 10 and 9 more it is 10 and 1."""
    prepare(meter.client, 100)
    read(meter.client, 10)
    meter.client.xtrim(STREAM, maxlen=20, approximate=False)
    assert meter.measure().entries == 20
    read(meter.client, 10)
    assert meter.measure().entries == 10
    read(meter.client, 9)
    assert meter.measure().entries == 1


def test_a_deleted_entry_next_in_line_does_not_count(meter: Meter) -> None:
    """Four entries are added, one is read, the next deleted, two read and one added: the backlog is 1."""
    prepare(meter.client, 4)
    read(meter.client, 1)
    meter.client.xdel(STREAM, "2-0")
    read(meter.client, 2)
    fill(meter.client, 1, first=5)
    assert meter.measure().entries == 1


def test_an_empty_stream_with_a_group_has_no_backlog(meter: Meter) -> None:
    """An empty stream that has a group has a backlog of 0."""
    meter.client.execute_command("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
    assert meter.measure().entries == 0


def test_a_group_made_mid_stream_counts_the_entries_after_it(meter: Meter) -> None:
    """A group made at entry 40 of 100 has a backlog of exactly 60."""
    prepare(meter.client, 100, position="40-0")
    assert meter.measure().entries == 60


def test_all_read_after_a_trim_past_the_group_leaves_no_backlog(meter: Meter) -> None:
    """After a trim past the group, with all entries read and acknowledged, the backlog is 0."""
    prepare(meter.client, 100)
    read(meter.client, 10)
    meter.client.xtrim(STREAM, maxlen=20, approximate=False)
    read(meter.client, 20)
    assert meter.measure().entries == 0


@pytest.mark.parametrize(("processed", "target"), [(100, 0), (50, 5), (0, 10)])
def test_processed_entries_are_not_backlog(meter: Meter, processed: int, target: int) -> None:
    """With 100, 50 or 0 of 100 entries processed and 10 messages per worker, the target is 0, 5 or 10 instances."""
    prepare(meter.client, 100)
    if processed:
        read(meter.client, processed)
    assert instances_for(meter.measure().entries, 10) == target


def test_a_burst_in_one_millisecond_is_counted_exactly(meter: Meter) -> None:
    """With 1,200 of 3,000 entries of one millisecond read, the backlog is 1,800."""
    with meter.client.pipeline(transaction=False) as pipeline:
        for sequence in range(1, 3001):
            pipeline.execute_command("XADD", STREAM, f"7-{sequence}", "f", "v")
        pipeline.execute()
    meter.client.execute_command("XGROUP", "CREATE", STREAM, GROUP, "0")
    read(meter.client, 1200)
    assert meter.measure().entries == 1800


def test_a_sparse_stream_is_counted_exactly(meter: Meter) -> None:
    """Entries that are hours apart count as entries, not as milliseconds."""
    for number in range(1, 51):
        meter.client.execute_command("XADD", STREAM, f"{number * 3_600_000}-0", "f", "v")
    meter.client.execute_command("XGROUP", "CREATE", STREAM, GROUP, str(20 * 3_600_000))
    assert meter.measure().entries == 30


def test_without_a_group_all_entries_are_undelivered(meter: Meter) -> None:
    """In a stream without the group, all entries are undelivered."""
    fill(meter.client, 100)
    key = meter.measure().keys[0]
    assert (key.pending, key.lag) == (0, Lag(100, "derived"))


def test_a_missing_stream_has_no_backlog(meter: Meter) -> None:
    """A key that does not exist has a backlog of 0."""
    assert meter.measure().entries == 0


@pytest.mark.releases("redis-5.0", "redis-7.0")
def test_counting_stops_at_its_limit_and_is_marked_as_capped(meter: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the lag is the limit, marked as capped; below it, the lag is exact."""
    monkeypatch.setattr("scaler.measuring.counting.MAX_PAGE", 10)
    monkeypatch.setattr("scaler.triggers.measured_trigger.MIN_COUNT_LIMIT", 50)
    prepare(meter.client, 300, position="150-0")
    meter.client.xdel(STREAM, "200-0")  # so that no release reports a lag that can be trusted
    few = MeasuredTrigger(StreamTrigger(keys=(STREAM,), consumer_group=GROUP, messages_per_worker=1), max_instances=1)
    many = MeasuredTrigger(
        StreamTrigger(keys=(STREAM,), consumer_group=GROUP, messages_per_worker=100), max_instances=2
    )
    assert meter.measure(few).keys[0].lag == Lag(50, "counted", capped=True)
    assert meter.measure(many).keys[0].lag == Lag(149, "counted")


@pytest.mark.releases("redis-7.0", "redis-7.4")
def test_the_shorter_side_is_counted(meter: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long stream with few delivered entries is counted exactly from that side, even beyond the limit."""
    monkeypatch.setattr("scaler.measuring.counting.MAX_PAGE", 10)
    monkeypatch.setattr("scaler.triggers.measured_trigger.MIN_COUNT_LIMIT", 50)
    prepare(meter.client, 2000)
    read(meter.client, 5)
    meter.client.xdel(STREAM, "1000-0")
    measured = MeasuredTrigger(MEASURED.trigger, max_instances=1)
    assert meter.measure(measured).keys[0].lag == Lag(1994, "counted")


@pytest.mark.parametrize("sequence", [2**64 - 1, 2**63, 10**18 - 1, 10**9 - 1, 2**53, 0])
@pytest.mark.releases("redis-5.0", "redis-7.0", "redis-7.4")
def test_large_ids_are_exact(meter: Meter, sequence: int) -> None:
    """IDs have 64 bits, more than a script's numbers: the entry at the group's position is delivered, the next not."""
    for entry_id in ("1-1", f"{2**63 - 1}-{sequence}", f"{2**63}-0", f"{2**63}-1", f"{2**63}-2"):
        meter.client.execute_command("XADD", STREAM, entry_id, "f", "v")
    meter.client.execute_command("XGROUP", "CREATE", STREAM, GROUP, f"{2**63 - 1}-{sequence}")
    meter.client.xdel(STREAM, f"{2**63}-1")
    assert meter.measure().entries == 2
    meter.client.execute_command("XGROUP", "SETID", STREAM, GROUP, f"{2**63}-1")
    assert meter.measure().entries == 1
    meter.client.execute_command("XGROUP", "SETID", STREAM, GROUP, f"{2**63}-2")
    assert meter.measure().entries == 0


def test_a_count_never_exceeds_the_length() -> None:
    """Entries that are trimmed while a stream is counted make no lag above the length that is reported beside it."""
    query = StreamQuery(STREAM, GROUP, limit=100)
    count = StreamMeasurement(query, ServerInfo(), needs_pages=True, expected_seconds=0.0)
    group = [0, b"5-0", None, None]
    count.take(Reply([[None, 9, group, [1, b"6-0"], [1, b"1-0"]]], 0.0))
    assert count.result is None
    count.take(Reply([[None, 3, [5, b"11-0"], [0, None]]], 0.0))
    assert isinstance(count.result, KeyBacklog)
    assert count.result.lag == Lag(3, "counted")
    assert count.result.entries == 3
