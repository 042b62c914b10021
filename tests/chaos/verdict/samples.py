"""Made-up evidence for the tests of the judge."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

from tests.chaos.hosts.keys import KEYS, LISTS
from tests.chaos.producers.entries import Producer
from tests.chaos.producers.messages import Publication, Publisher
from tests.chaos.records.calls import Moment, Recorder, Records
from tests.chaos.records.fates import Fate, fate
from tests.chaos.records.letters import Letter
from tests.chaos.scenarios.scenario import Flushed
from tests.chaos.scenarios.standalone import Standalone
from tests.chaos.verdict.evidence import Evidence
from tests.chaos.verdict.judge import judge

__all__ = ["CALLED", "GOOD", "POISON", "REJECTED", "REJECTION", "Lines", "evidence", "record", "violations"]

SEED = 7
PAYLOADS = [f"{key}/{number}" for key in KEYS for number in range(5000)]
GOOD, REJECTED, POISON = (
    next(payload for payload in PAYLOADS if fate(SEED, payload) is fated)
    for fated in (Fate.SUCCEEDS, Fate.IS_REJECTED, Fate.ENDS_PROCESS)
)
REJECTION = Letter(REJECTED, 1, "Reject: never handled")
CALLED = [(moment, "first", 1) for moment in (Moment.STARTED, Moment.HANDLED)]

Lines = list[tuple[Moment, str, int]]


def evidence(folder: Path, calls: dict[str, Lines], **other: Any) -> Evidence:
    """Return the evidence of a run with these recorded calls: (moment, instance, epoch) by payload.

    A rejected entry was called, and other calls may have been recorded before.
    """
    for payload, lines in {REJECTED: [(Moment.STARTED, "other", 0), (Moment.FAILED, "other", 0)], **calls}.items():
        for moment, instance, epoch in lines:
            Recorder(folder, instance).write(moment, payload, 1, epoch)
    scenario = Standalone(random.Random(SEED), release="valkey-9.1", stop_seconds=(1, 1))
    confirmed = other.pop("confirmed", [GOOD, REJECTED])
    producer = Producer(scenario, LISTS[0], 2, 1.0, random.Random(SEED), confirmed=confirmed)
    publisher = Publisher(scenario, 1.0, confirmed=other.pop("published", [Publication("message/0", 0, 1)]))
    fields: dict[str, Any] = {
        "durable": True, "exclusive_lease": True, "leftovers": {}, "flushed": Flushed(), "dead_letters": [REJECTION],
        "endings": [], "unexpected_errors": [], "interrupted_begins": [], "faults": Counter(),
    }  # fmt: skip
    return Evidence(
        seed=SEED, hosts=2, seconds=1.0, settle_seconds=0.0, producers=[producer], publisher=publisher,
        records=Records.read(folder), **{**fields, **other},
    )  # fmt: skip


def record(folder: Path, lines: str) -> None:
    """Record moments of calls in this order, each given as INSTANCE MOMENT PAYLOAD."""
    for line in lines.splitlines():
        if line.strip():
            instance, moment, payload = line.split()
            Recorder(folder, instance).write(Moment(moment), payload, 1, None)


def violations(found: Evidence) -> list[str]:
    """Return the names of the findings that are not good."""
    return [finding.what for finding in judge(found).findings if not finding.good]
