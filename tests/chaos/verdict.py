"""Judges a run by the processes' records, the producers' confirmations and what is left on the servers."""

import signal
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.chaos.app import BATCH_SIZE
from tests.chaos.hosts import Ending
from tests.chaos.producers import MESSAGE, Producer, Publisher
from tests.chaos.records import Fate, Moment, Records, fate
from tests.chaos.takeovers import Cost

__all__ = ["Evidence", "Finding", "Verdict", "judge"]

#: Number of functions that take batches: one reads lists, two read streams.
POLLED_FUNCTIONS = 3
#: Faults that cannot prevent the renewal of a lease.
HARMLESS = ("network: slow", "host: SIGTERM")


@dataclass
class Evidence:
    """Everything that is known when a run is over.

    `seconds` is the time until the last entry was finished, `settle_seconds` the part of it after the last fault.
    """

    seed: int
    hosts: int
    durable: bool
    seconds: float
    settle_seconds: float
    producers: Sequence[Producer]
    publisher: Publisher
    records: Records
    leftovers: dict[str, int]
    dead_letters: Sequence[str]
    endings: Sequence[Ending]
    unexpected_errors: Sequence[str]
    faults: Counter[str]
    costs: Sequence[Cost] = ()

    @property
    def confirmed(self) -> list[str]:
        """The payloads that the server confirmed."""
        return [payload for producer in self.producers for payload in producer.confirmed]

    @property
    def unconfirmed(self) -> list[str]:
        """The payloads without confirmation, which may have been added or not."""
        return [payload for producer in self.producers for payload in producer.unconfirmed]


@dataclass(frozen=True)
class Finding:
    """One verified property; `evidence` are lines that show what is wrong."""

    what: str
    found: str
    expected: str
    good: bool
    evidence: Sequence[str] = ()


@dataclass
class Verdict:
    """What was verified, and what was only counted."""

    findings: list[Finding] = field(default_factory=list)
    counted: dict[str, str] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether every finding is good."""
        return all(finding.good for finding in self.findings)

    def expect_none(self, what: str, wrong: Sequence[object], *, guaranteed: bool = True) -> None:
        """Verify that `wrong` is empty; only count its items if that is not guaranteed."""
        if guaranteed:
            self.findings.append(Finding(what, f"{len(wrong):,}", "0", not wrong, [str(one) for one in wrong]))
        else:
            self.counted[f"not guaranteed here: {what}"] = f"{len(wrong):,}"


def judge(evidence: Evidence) -> Verdict:
    """Verify every guarantee."""
    verdict = Verdict()
    _judge_entries(evidence, verdict)
    _judge_dead_letters(evidence, verdict)
    _judge_messages(evidence, verdict)
    _judge_processes(evidence, verdict)
    return verdict


def _judge_entries(evidence: Evidence, verdict: Verdict) -> None:
    records, confirmed = evidence.records, evidence.confirmed
    times = {payload: len(records.of(payload, Moment.HANDLED)) for payload in [*confirmed, *evidence.unconfirmed]}
    dead = set(evidence.dead_letters)
    verdict.expect_none("confirmed entries lost", [p for p in confirmed if not times[p] and p not in dead])
    leftovers = [f"{name}: {left}" for name, left in evidence.leftovers.items()]
    verdict.expect_none("kinds of entries left unfinished", leftovers)
    twice = [payload for payload, handled in times.items() if handled > 1]
    found = f"{len(twice):,} = {len(twice) / max(len(times), 1):.2%}"
    if evidence.durable:
        bound = _max_repeats(evidence)
        verdict.findings.append(Finding("entries handled more than once", found, f"≤ {bound:,}", len(twice) <= bound))
    else:
        verdict.counted["entries handled more than once"] = found
    handled = sum(1 for payload in confirmed if times[payload])
    verdict.counted["entries confirmed and handled"] = f"{handled:,} of {len(confirmed):,}"
    of_unconfirmed = sum(1 for payload in evidence.unconfirmed if times[payload])
    verdict.counted["unconfirmed entries, of which handled"] = f"{len(evidence.unconfirmed):,}, {of_unconfirmed:,}"
    failed = sum(call.moment is Moment.FAILED for calls in records.by_payload.values() for call in calls)
    verdict.counted["calls that raised"] = f"{failed:,}"
    verdict.counted["time to finish after the last fault"] = f"{evidence.settle_seconds:.1f} s"
    verdict.counted["throughput, outages included"] = f"{handled / evidence.seconds:,.0f} entries/s"


def _max_repeats(evidence: Evidence) -> int:
    """Return how many entries may be handled again.

    A process has at most one batch per function in progress. Entries that it has handled but not settled are delivered
    again if it is killed. If Redis is unreachable for longer than a lease, this applies to every process.
    """
    in_progress = POLLED_FUNCTIONS * BATCH_SIZE
    kills = evidence.faults["host: SIGKILL"] + len(evidence.costs)
    outages = sum(
        number for name, number in evidence.faults.items() if not name.startswith("host: ") and name not in HARMLESS
    )
    return in_progress * (kills + outages * evidence.hosts)


def _judge_dead_letters(evidence: Evidence, verdict: Verdict) -> None:
    dead = Counter(evidence.dead_letters)
    rejected = {p for p in evidence.confirmed if fate(evidence.seed, p) is Fate.IS_REJECTED}
    verdict.expect_none("rejected entries without a dead letter", sorted(rejected - set(dead)))
    wrong = [payload for payload in dead if fate(evidence.seed, payload) is not Fate.IS_REJECTED]
    verdict.expect_none("dead letters of entries that were not rejected", wrong)
    verdict.expect_none("entries dead-lettered twice", [payload for payload, number in dead.items() if number > 1])
    verdict.counted["dead letters (rejected on purpose)"] = f"{len(evidence.dead_letters):,}"


def _judge_messages(evidence: Evidence, verdict: Verdict) -> None:
    starts = evidence.records.starts(MESSAGE)
    calls: defaultdict[str, list[str]] = defaultdict(list)
    for call in starts:
        calls[call.payload].append(f"{call.instance} epoch {call.epoch} at {call.at_ns}")
    twice = [f"{payload}: {by}" for payload, by in calls.items() if len(by) > 1]
    durable = evidence.durable
    verdict.expect_none("messages with more than one call", twice, guaranteed=durable)
    verdict.expect_none("calls by a former holder that was not draining", _late_calls(evidence), guaranteed=durable)
    verdict.expect_none("messages handled out of order at a takeover", _out_of_order(evidence), guaranteed=durable)
    holders: defaultdict[int, set[str]] = defaultdict(set)
    for call in starts:
        holders[call.epoch].add(call.instance)
    shared = [f"{epoch}: {names}" for epoch, names in holders.items() if len(names) > 1]
    verdict.expect_none("epochs with more than one instance", shared, guaranteed=durable)
    verdict.expect_none("takeovers that did not happen", [cost for cost in evidence.costs if cost.seconds is None])
    published = evidence.publisher.confirmed
    missed = sum(message.payload not in calls for message in published)
    verdict.counted["messages published, of which missed"] = f"{len(published):,}, {missed:,}"
    verdict.counted["successive holders of the pub/sub lease"] = str(len(holders))


def _late_calls(evidence: Evidence) -> list[str]:
    """Return calls of an epoch that started after the first call of a newer epoch.

    A draining holder finishes the messages that arrived before the handover, so its calls are allowed.
    """
    drains = {ending.instance: ending.signalled_ns for ending in evidence.endings if ending.signalled is signal.SIGTERM}
    newest, since_ns, late = 0, 0, []
    for call in evidence.records.starts(MESSAGE):
        if call.epoch > newest:
            newest, since_ns = call.epoch, call.at_ns
        elif call.epoch < newest and drains.get(call.instance, call.at_ns) > since_ns:
            late.append(f"{call} after epoch {newest} began at {since_ns}")
    return late


def _out_of_order(evidence: Evidence) -> list[str]:
    """Return messages handled under an older epoch although an earlier message was handled under a newer one.

    The publisher awaits each confirmation before the next message, so the order of confirmed messages is defined.
    """
    wrong, newest, first = [], 0, ""
    for message in evidence.publisher.confirmed:
        for call in evidence.records.of(message.payload, Moment.STARTED):
            if call.epoch < newest:
                wrong.append(f"{call.payload} by {call.instance} under {call.epoch}, {first} under {newest}")
            elif call.epoch > newest:
                newest, first = call.epoch, call.payload
    return wrong


def _judge_processes(evidence: Evidence, verdict: Verdict) -> None:
    by_themselves = [ending for ending in evidence.endings if ending.signalled is None]
    verdict.expect_none("processes that exited by themselves", by_themselves)
    drained = [ending for ending in evidence.endings if ending.signalled is signal.SIGTERM]
    verdict.expect_none("drains with a non-zero exit status", [ending for ending in drained if ending.status != 0])
    verdict.expect_none("unexpected errors in logs", evidence.unexpected_errors)
    longest = max((ending.seconds for ending in drained), default=0.0)
    verdict.counted["host processes, longest drain"] = f"{len(evidence.endings)}, {longest:.1f} s"
