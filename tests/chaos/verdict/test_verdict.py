"""The judge of chaos runs: it detects every kind of violation."""

import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.faults.takeovers import Cost
from tests.chaos.hosts.app import LISTS
from tests.chaos.hosts.processes import Ending
from tests.chaos.producers.entries import Producer
from tests.chaos.producers.messages import Publication, Publisher
from tests.chaos.records.calls import Fate, Moment, Recorder, Records, fate
from tests.chaos.scenarios.standalone import Standalone
from tests.chaos.verdict.evidence import Evidence
from tests.chaos.verdict.judge import judge

SEED = 7
PAYLOADS = [f"{LISTS[0]}/{number}" for number in range(5000)]
GOOD = next(payload for payload in PAYLOADS if fate(SEED, payload) is Fate.SUCCEEDS)
REJECTED = next(payload for payload in PAYLOADS if fate(SEED, payload) is Fate.IS_REJECTED)
CALLED = [(moment, "first", 1) for moment in (Moment.STARTED, Moment.HANDLED)]

Lines = list[tuple[Moment, str, int]]


def evidence(folder: Path, calls: dict[str, Lines], **other: Any) -> Evidence:
    """Return the evidence of a run with these recorded calls: (moment, instance, epoch) by payload."""
    recorders = {name: Recorder(folder, name) for name in ("first", "second")}
    for payload, lines in calls.items():
        for moment, instance, epoch in lines:
            recorders[instance].write(moment, payload, 1, epoch)
    scenario = Standalone(random.Random(SEED), release="valkey-9.1", stop_seconds=(1, 1))
    producer = Producer(scenario, LISTS[0], 2, 1.0, random.Random(SEED), confirmed=[GOOD, REJECTED])
    publisher = Publisher(scenario, 1.0, confirmed=other.pop("published", [Publication("message/0", 0, 1)]))
    fields: dict[str, Any] = {"leftovers": {}, "dead_letters": [REJECTED], "endings": [], "unexpected_errors": []}
    fields |= other
    return Evidence(
        seed=SEED, hosts=2, durable=True, seconds=1.0, settle_seconds=0.0, producers=[producer], publisher=publisher,
        records=Records.read(folder), faults=Counter(), **fields,
    )  # fmt: skip


def violations(found: Evidence) -> list[str]:
    """Return the names of the findings that are not good."""
    return [finding.what for finding in judge(found).findings if not finding.good]


def test_a_good_run(tmp_path: Path) -> None:
    """A run is good if every entry was handled once, or rejected and dead-lettered."""
    assert violations(evidence(tmp_path, {GOOD: CALLED, "message/0": CALLED})) == []


@pytest.mark.parametrize("lines", [[], [(Moment.STARTED, "first", 0)], [(Moment.FAILED, "first", 0)]])
def test_an_entry_that_was_not_handled_is_lost(tmp_path: Path, lines: Lines) -> None:
    """An entry counts as handled if the end of a call is recorded, not by its start or a failure."""
    assert violations(evidence(tmp_path, {GOOD: lines})) == ["confirmed entries lost"]


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
        ({"dead_letters": [REJECTED, GOOD]}, "dead letters of entries that were not rejected"),
        ({"dead_letters": [REJECTED, REJECTED]}, "entries dead-lettered twice"),
        ({"endings": [Ending("first", None, 1, 0.0)]}, "processes that exited by themselves"),
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
