"""The judge of chaos runs: it finds what it is there to find."""

import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.app import LISTS
from tests.chaos.hosts import Ending
from tests.chaos.producers import Producer, Publication, Publisher
from tests.chaos.records import Fate, Moment, Recorder, Records, fate
from tests.chaos.standalone import Standalone
from tests.chaos.takeovers import Cost
from tests.chaos.verdict import Evidence, judge

SEED = 7
PAYLOADS = [f"{LISTS[0]}/{number}" for number in range(5000)]
GOOD = next(payload for payload in PAYLOADS if fate(SEED, payload) is Fate.SUCCEEDS)
REJECTED = next(payload for payload in PAYLOADS if fate(SEED, payload) is Fate.IS_REJECTED)
CALLED = [(moment, "first", 1) for moment in (Moment.STARTED, Moment.HANDLED)]

Lines = list[tuple[Moment, str, int]]


def evidence(folder: Path, calls: dict[str, Lines], **other: Any) -> Evidence:
    """A run in which these calls were recorded: for each payload (moment, instance, epoch)."""
    recorders = {name: Recorder(folder, name) for name in ("first", "second")}
    for payload, lines in calls.items():
        for moment, instance, epoch in lines:
            recorders[instance].write(moment, payload, 1, epoch)
    scenario = Standalone(random.Random(SEED), release="valkey-9.1", stop_seconds=(1, 1))
    producer = Producer(scenario, LISTS[0], 2, 1.0, random.Random(SEED), confirmed=[GOOD, REJECTED])
    publisher = Publisher(scenario, 1.0, confirmed=other.pop("published", [Publication("message/0", 0, 1)]))
    given: dict[str, Any] = {"leftovers": {}, "dead_letters": [REJECTED], "endings": [], "unforeseen": [], **other}
    return Evidence(
        seed=SEED, hosts=2, durable=True, seconds=1.0, settle_seconds=0.0, producers=[producer], publisher=publisher,
        records=Records.read(folder), faults=Counter(), **given,
    )  # fmt: skip


def complaints(found: Evidence) -> list[str]:
    """What is not as it must be."""
    return [finding.what for finding in judge(found).findings if not finding.good]


def test_a_good_run(tmp_path: Path) -> None:
    """A run in which all was handled once, or rejected and kept, is good."""
    assert complaints(evidence(tmp_path, {GOOD: CALLED, "message/0": CALLED})) == []


@pytest.mark.parametrize("lines", [[], [(Moment.STARTED, "first", 0)], [(Moment.FAILED, "first", 0)]])
def test_an_entry_that_was_not_handled_is_lost(tmp_path: Path, lines: Lines) -> None:
    """Only a recorded end of a call counts: not its start, and not a failure."""
    assert complaints(evidence(tmp_path, {GOOD: lines})) == ["confirmed entries lost"]


def test_entries_handled_too_often(tmp_path: Path) -> None:
    """Without any fault an entry that was handled twice is one too many."""
    assert complaints(evidence(tmp_path, {GOOD: CALLED * 2})) == ["entries handled more than once"]


@pytest.mark.parametrize(
    ("calls", "complaint"),
    [
        ({"message/0": [*CALLED, (Moment.STARTED, "second", 2)]}, "messages called for more than once"),
        (
            {"message/0": [(Moment.STARTED, "second", 2)], "message/1": [(Moment.STARTED, "first", 1)]},
            "calls of a former holder that does not drain",
        ),
        (
            {"message/0": [(Moment.STARTED, "second", 1)], "message/1": [(Moment.STARTED, "first", 1)]},
            "epochs with two instances",
        ),
    ],
)
def test_messages_in_two_hands(tmp_path: Path, calls: dict[str, Lines], complaint: str) -> None:
    """A message in two instances, a holder that calls after its successor, and two holders of one epoch are found."""
    assert complaints(evidence(tmp_path, {GOOD: CALLED, **calls})) == [complaint]


@pytest.mark.parametrize(("after", "expected"), [(0, []), (1, ["messages handled out of turn at a take-over"])])
def test_a_hand_over(tmp_path: Path, after: int, expected: list[str]) -> None:
    """A holder that drains may call after its successor began, but only for messages published before those."""
    calls: dict[str, Lines] = {f"message/{1 - after}": [(Moment.STARTED, "second", 2)]}
    calls |= {f"message/{after}": [(Moment.STARTED, "first", 1)]}
    published = [Publication(f"message/{number}", number, 1) for number in range(2)]
    drained = Ending("first", signal.SIGTERM, 0, 1.0, signalled_ns=1)
    found = evidence(tmp_path, {GOOD: CALLED, **calls}, endings=[drained], published=published)
    assert complaints(found) == expected


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        ({"leftovers": {"list: in flight": 1}}, "kinds of entries left unfinished"),
        ({"dead_letters": []}, "confirmed entries lost"),
        ({"dead_letters": [REJECTED, GOOD]}, "dead letters of entries never rejected"),
        ({"dead_letters": [REJECTED, REJECTED]}, "entries dead-lettered twice"),
        ({"endings": [Ending("first", None, 1, 0.0)]}, "processes that ended by themselves"),
        ({"endings": [Ending("first", signal.SIGTERM, -9, 25.0)]}, "drains that did not end well"),
        ({"unforeseen": ["a failed in a way that was not foreseen"]}, "errors that were not foreseen, in logs"),
        ({"costs": [Cost(signal.SIGKILL, None, 5, 5)]}, "take-overs that never came"),
    ],
)
def test_what_else_must_not_be(tmp_path: Path, other: dict[str, Any], complaint: str) -> None:
    """Leftovers, wrong dead letters, processes that die or hang, and take-overs that do not come are found."""
    assert complaint in complaints(evidence(tmp_path, {GOOD: CALLED}, **other))


def test_a_line_that_is_not_whole(tmp_path: Path) -> None:
    """A record that may lie is refused."""
    (tmp_path / "first.calls").write_text("S message/0 1 1 1\nH mess")
    with pytest.raises(ValueError, match="middle of a line"):
        Records.read(tmp_path)
