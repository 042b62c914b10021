"""The judge of dead letters: which calls may be counted against an entry."""

import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.hosts.app import POISONED_STATUS
from tests.chaos.hosts.keys import STREAM
from tests.chaos.hosts.processes import Ending
from tests.chaos.records.letters import Letter
from tests.chaos.scenarios.scenario import Flushed
from tests.chaos.verdict.samples import CALLED, GOOD, POISON, REJECTED, REJECTION, evidence, record, violations

DIED = "called 3 times, the last time alone in its process, which died or hung during the call"
#: One death beside another call, and three alone.
POISONED = f"""
h1 S {GOOD}
h1 S {POISON}
h2 S {POISON}
h3 S {POISON}
h4 S {POISON}
"""
OTHER = f"{STREAM}/1"
NOT_ALONE = "dead letters for deaths of processes that ran other calls, too"


def ended(*instances: str) -> list[Ending]:
    """Return the ends of processes that a poison entry ended."""
    return [Ending(instance, None, POISONED_STATUS, 0.0) for instance in instances]


def test_a_poison_entry(tmp_path: Path) -> None:
    """A poison entry is dead-lettered after one death in company and three that are counted."""
    record(tmp_path, POISONED)
    letters = [REJECTION, Letter(POISON, 3, DIED)]
    confirmed = [GOOD, REJECTED, POISON]
    found = evidence(
        tmp_path, {GOOD: CALLED}, confirmed=confirmed, dead_letters=letters, endings=ended("h1", "h2", "h3", "h4")
    )
    assert violations(found) == []


@pytest.mark.parametrize(
    "last_death",
    [
        f"h4 S {OTHER}\nh4 S {POISON}",  # another call did not end
        f"h4 S {OTHER}\nh4 S {POISON}\nh4 H {OTHER}",  # another call ended meanwhile
        f"h4 S {POISON}\nh4 S {OTHER}",  # another call began meanwhile
        f"h4 S {OTHER}",  # it was not called
    ],
)
def test_deaths_that_must_not_count(tmp_path: Path, last_death: str) -> None:
    """A death counts only against an entry that was being called and was alone in its process."""
    record(tmp_path, POISONED.replace(f"h4 S {POISON}", last_death))
    letters = [REJECTION, Letter(POISON, 3, DIED)]
    found = evidence(tmp_path, {GOOD: CALLED}, dead_letters=letters, endings=ended("h1", "h2", "h3"))
    assert violations(found) == [NOT_ALONE]


def test_deaths_from_outside(tmp_path: Path) -> None:
    """Calls that fail, processes killed during a call alone, and calls alone that were not settled are counted."""
    record(tmp_path, f"h1 S {GOOD}\nh1 F {GOOD}\nh2 S {GOOD}\nh3 S {GOOD}\nh3 H {GOOD}")
    endings = [Ending("h2", signal.SIGKILL, -9, 0.0)]
    assert violations(evidence(tmp_path, {}, dead_letters=[REJECTION, Letter(GOOD, 3, DIED)], endings=endings)) == []
    found = evidence(tmp_path, {}, dead_letters=[REJECTION, Letter(GOOD, 4, DIED)], endings=endings)
    assert violations(found) == [NOT_ALONE]


def test_a_process_that_is_killed_before_the_call_begins(tmp_path: Path) -> None:
    """A counted call that did not begin is explained by a kill while nothing ran, later than the entry's first call."""
    record(tmp_path, f"{POISONED.replace(f'h4 S {POISON}', '')}\nquiet S {OTHER}\nquiet H {OTHER}\nbusy S {OTHER}")
    letters = [REJECTION, Letter(POISON, 3, DIED)]

    def found(instance: str, signalled_ns: int) -> list[str]:
        kill = Ending(instance, signal.SIGKILL, -9, 0.0, signalled_ns)
        endings = [*ended("h1", "h2", "h3"), kill]
        return violations(evidence(tmp_path, {}, confirmed=[REJECTED], dead_letters=letters, endings=endings))

    assert found("quiet", time.monotonic_ns()) == []
    assert found("busy", time.monotonic_ns()) == [NOT_ALONE]
    assert found("quiet", 1) == [NOT_ALONE]


@pytest.mark.parametrize(
    ("line", "explains"),
    [
        ("on_entry: beginning with 'k' 1-2: no answer", True),
        ("on_entry: 'k' 1-2 not called alone: the answer of Redis came after its lease", True),
        ("on_entry: beginning with 'k' 1-23: no answer", False),
        ("on_entry: 'k' 1-2 not called: its lease expired", False),
    ],
)
def test_an_answer_that_is_lost_or_late(tmp_path: Path, line: str, explains: bool) -> None:
    """A counted call that did not begin is explained by a log line about this entry."""
    record(tmp_path, POISONED.replace(f"h4 S {POISON}", ""))
    letters = [REJECTION, Letter(POISON, 3, DIED, "'k' 1-2")]
    endings = ended("h1", "h2", "h3")
    found = evidence(tmp_path, {GOOD: CALLED}, dead_letters=letters, endings=endings, interrupted_begins=[line])
    assert violations(found) == ([] if explains else [NOT_ALONE])


@pytest.mark.parametrize(
    "letter",
    [
        Letter(GOOD, 2, DIED),  # one more call is allowed
        Letter(GOOD, 4, "RuntimeError: raised once"),
        Letter(GOOD, 1, "Reject: never handled"),
    ],
)
def test_no_valid_reason(tmp_path: Path, letter: Letter) -> None:
    """Only rejections of entries that are rejected, and enough deaths, are reasons."""
    record(tmp_path, f"h1 S {GOOD}\nh2 S {GOOD}\nh3 S {GOOD}")
    found = evidence(tmp_path, {}, dead_letters=[REJECTION, letter])
    assert violations(found) == ["dead letters for no valid reason"]


def test_an_entry_that_was_never_called(tmp_path: Path) -> None:
    """No entry is dead-lettered without a call."""
    found = evidence(tmp_path, {}, dead_letters=[REJECTION, Letter(GOOD, 3, DIED)])
    assert "entries dead-lettered uncalled" in violations(found)


def test_a_poison_entry_without_a_dead_letter(tmp_path: Path) -> None:
    """A poison entry that is not dead-lettered is found, unless it was flushed."""
    record(tmp_path, POISONED)
    confirmed = [GOOD, REJECTED, POISON]
    missing = ["confirmed entries lost", "poison entries without a dead letter"]
    assert violations(evidence(tmp_path, {GOOD: CALLED}, confirmed=confirmed)) == missing
    assert violations(evidence(tmp_path, {}, confirmed=confirmed, flushed=Flushed({POISON}))) == []


def test_a_poison_entry_that_ends_too_many_processes(tmp_path: Path) -> None:
    """Each failover allows one more death where Redis may lose what hosts have written."""
    record(tmp_path, f"{POISONED}\nh5 S {POISON}")
    endings = ended("h1", "h2", "h3", "h4", "h5")
    faults = Counter({"primary: SIGKILL, failover": 1})
    too_many = ["poison entries that ended more than 4 processes"]
    letters = [REJECTION, Letter(POISON, 3, DIED)]
    found = evidence(tmp_path, {GOOD: CALLED}, dead_letters=letters, endings=endings, faults=faults)
    assert violations(found) == too_many
    found.durable = False
    assert violations(found) == []
