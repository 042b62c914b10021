"""The judge of chaos runs: it detects every kind of violation."""

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.faults.takeovers import Cost
from tests.chaos.hosts.app import POISONED_STATUS
from tests.chaos.hosts.processes import Ending
from tests.chaos.producers.messages import Publication
from tests.chaos.records.calls import Moment, Records
from tests.chaos.scenarios.scenario import Flushed
from tests.chaos.verdict.samples import CALLED, GOOD, REJECTED, REJECTION, Lines, evidence, violations


def test_a_good_run(tmp_path: Path) -> None:
    """A run is good if every entry was handled once, or rejected and dead-lettered."""
    assert violations(evidence(tmp_path, {GOOD: CALLED, "message/0": CALLED})) == []


@pytest.mark.parametrize("lines", [[], [(Moment.STARTED, "first", 0)], [(Moment.FAILED, "first", 0)]])
def test_an_entry_that_was_not_handled_is_lost(tmp_path: Path, lines: Lines) -> None:
    """An entry counts as handled if the end of a call is recorded, not by its start or a failure."""
    assert violations(evidence(tmp_path, {GOOD: lines})) == ["confirmed entries lost"]


def test_what_redis_lost_is_not_a_violation(tmp_path: Path) -> None:
    """Entries that were unfinished when the server was flushed may be lost, and no others."""
    flushed = Flushed(entries={GOOD})
    assert violations(evidence(tmp_path, {}, flushed=flushed)) == []
    found = evidence(tmp_path, {}, flushed=flushed, dead_letters=[])
    assert violations(found) == ["confirmed entries lost", "rejected entries without a dead letter"]
    found = evidence(tmp_path, {}, flushed=Flushed(entries={REJECTED}), dead_letters=[])
    assert violations(found) == ["confirmed entries lost"]


def test_entries_handled_too_often(tmp_path: Path) -> None:
    """Without faults, an entry that was handled twice is a violation."""
    assert violations(evidence(tmp_path, {GOOD: CALLED * 2})) == ["entries handled more than once"]


@pytest.mark.parametrize(
    ("calls", "violation"),
    [
        ({"message/0": [*CALLED, (Moment.STARTED, "second", 2)]}, "messages with more than one call"),
        (
            {"message/0": [(Moment.STARTED, "second", 2)], "message/1": [(Moment.STARTED, "first", 1)]},
            "calls by a former holder that was not draining",
        ),
        (
            {"message/0": [(Moment.STARTED, "second", 1)], "message/1": [(Moment.STARTED, "first", 1)]},
            "epochs with more than one instance",
        ),
    ],
)
def test_two_holders(tmp_path: Path, calls: dict[str, Lines], violation: str) -> None:
    """A message in two instances, a holder that calls after its successor, and two holders of one epoch are found."""
    assert violations(evidence(tmp_path, {GOOD: CALLED, **calls})) == [violation]


@pytest.mark.parametrize(("after", "expected"), [(0, []), (1, ["messages handled out of order at a takeover"])])
def test_a_handover(tmp_path: Path, after: int, expected: list[str]) -> None:
    """A draining holder may call after its successor has begun, but only for messages published before the
    successor's.
    """
    calls: dict[str, Lines] = {f"message/{1 - after}": [(Moment.STARTED, "second", 2)]}
    calls |= {f"message/{after}": [(Moment.STARTED, "first", 1)]}
    published = [Publication(f"message/{number}", number, 1) for number in range(2)]
    drained = Ending("first", signal.SIGTERM, 0, 1.0, signalled_ns=1)
    found = evidence(tmp_path, {GOOD: CALLED, **calls}, endings=[drained], published=published)
    assert violations(found) == expected


@pytest.mark.parametrize(
    ("other", "violation"),
    [
        ({"leftovers": {"list: in flight": 1}}, "kinds of entries left unfinished"),
        ({"dead_letters": []}, "confirmed entries lost"),
        ({"dead_letters": [REJECTION, REJECTION]}, "entries dead-lettered twice"),
        ({"endings": [Ending("first", None, 1, 0.0)]}, "processes that exited by themselves"),
        ({"endings": [Ending("first", None, POISONED_STATUS, 0.0)]}, "processes that exited by themselves"),
        ({"endings": [Ending("first", signal.SIGTERM, -9, 25.0)]}, "drains with a non-zero exit status"),
        ({"unexpected_errors": ["a: unexpected error"]}, "unexpected errors in logs"),
        ({"costs": [Cost(signal.SIGKILL, None, 5, 5)]}, "takeovers that did not happen"),
    ],
)
def test_other_violations(tmp_path: Path, other: dict[str, Any], violation: str) -> None:
    """Leftovers, wrong dead letters, processes that die or hang, and missing takeovers are found."""
    assert violation in violations(evidence(tmp_path, {GOOD: CALLED}, **other))


def test_an_incomplete_line(tmp_path: Path) -> None:
    """A record that ends in the middle of a line is refused."""
    (tmp_path / "first.calls").write_text("S message/0 1 1 1\nH mess")
    with pytest.raises(ValueError, match="middle of a line"):
        Records.read(tmp_path)
