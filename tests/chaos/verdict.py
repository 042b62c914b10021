"""Judges a run by what the processes recorded, what the producers know, and what is left on the servers."""

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

#: Functions that have a batch in hand: lists, and two streams.
POLLED_FUNCTIONS = 3
#: Faults that cannot keep a lease from being renewed.
HARMLESS = ("network: slow", "host: SIGTERM")


@dataclass
class Evidence:
    """All that is known when a run is over. `seconds`: until the last entry was finished, of which
    `settle_seconds` after the last fault.
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
    unforeseen: Sequence[str]
    faults: Counter[str]
    costs: Sequence[Cost] = ()

    @property
    def confirmed(self) -> list[str]:
        """Payloads that the server confirmed."""
        return [payload for producer in self.producers for payload in producer.confirmed]

    @property
    def unconfirmed(self) -> list[str]:
        """Payloads that may have been added, or not."""
        return [payload for producer in self.producers for payload in producer.unconfirmed]


@dataclass(frozen=True)
class Finding:
    """One thing that was verified. `evidence`: lines that show what is wrong."""

    what: str
    found: str
    expected: str
    good: bool
    evidence: Sequence[str] = ()


@dataclass
class Verdict:
    """What was verified, and what was counted only."""

    findings: list[Finding] = field(default_factory=list)
    counted: dict[str, str] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether everything is as it must be."""
        return all(finding.good for finding in self.findings)

    def none(self, what: str, wrong: Sequence[object], *, promised: bool = True) -> None:
        """Verify that there is none of these; only count them if that is not promised."""
        if promised:
            self.findings.append(Finding(what, f"{len(wrong):,}", "0", not wrong, [str(one) for one in wrong]))
        else:
            self.counted[f"not promised here: {what}"] = f"{len(wrong):,}"


def judge(evidence: Evidence) -> Verdict:
    """Verify all that is promised."""
    verdict = Verdict()
    _entries(evidence, verdict)
    _dead_letters(evidence, verdict)
    _messages(evidence, verdict)
    _processes(evidence, verdict)
    return verdict


def _entries(evidence: Evidence, verdict: Verdict) -> None:
    records, confirmed = evidence.records, evidence.confirmed
    times = {payload: len(records.of(payload, Moment.HANDLED)) for payload in [*confirmed, *evidence.unconfirmed]}
    kept = set(evidence.dead_letters)
    verdict.none("confirmed entries lost", [p for p in confirmed if not times[p] and p not in kept])
    verdict.none("kinds of entries left unfinished", [f"{name}: {left}" for name, left in evidence.leftovers.items()])
    twice = [payload for payload, handled in times.items() if handled > 1]
    found = f"{len(twice):,} = {len(twice) / max(len(times), 1):.2%}"
    if evidence.durable:
        bound = _repeats_at_most(evidence)
        verdict.findings.append(Finding("entries handled more than once", found, f"≤ {bound:,}", len(twice) <= bound))
    else:
        verdict.counted["entries handled more than once"] = found
    handled = sum(1 for payload in confirmed if times[payload])
    verdict.counted["entries confirmed and handled"] = f"{handled:,} of {len(confirmed):,}"
    of_unconfirmed = sum(1 for payload in evidence.unconfirmed if times[payload])
    verdict.counted["entries not confirmed, of which handled"] = f"{len(evidence.unconfirmed):,}, {of_unconfirmed:,}"
    failed = sum(call.moment is Moment.FAILED for calls in records.by_payload.values() for call in calls)
    verdict.counted["calls that raised"] = f"{failed:,}"
    verdict.counted["all finished after the last fault"] = f"{evidence.settle_seconds:.1f} s"
    verdict.counted["throughput, outages included"] = f"{handled / evidence.seconds:,.0f} entries/s"


def _repeats_at_most(evidence: Evidence) -> int:
    """How many entries may be handled again.

    A process has one batch per function in hand at most; what it had handled and not settled yet comes again when it
    is killed. When Redis cannot be reached for longer than a lease, that is so for every process.
    """
    in_hand = POLLED_FUNCTIONS * BATCH_SIZE
    kills = evidence.faults["host: SIGKILL"] + len(evidence.costs)
    outages = sum(
        number for name, number in evidence.faults.items() if not name.startswith("host: ") and name not in HARMLESS
    )
    return in_hand * (kills + outages * evidence.hosts)


def _dead_letters(evidence: Evidence, verdict: Verdict) -> None:
    kept = Counter(evidence.dead_letters)
    rejected = {p for p in evidence.confirmed if fate(evidence.seed, p) is Fate.IS_REJECTED}
    verdict.none("rejected entries that are no dead letter", sorted(rejected - set(kept)))
    wrong = [payload for payload in kept if fate(evidence.seed, payload) is not Fate.IS_REJECTED]
    verdict.none("dead letters of entries never rejected", wrong)
    verdict.none("entries dead-lettered twice", [payload for payload, number in kept.items() if number > 1])
    verdict.counted["dead letters (rejected on purpose)"] = f"{len(evidence.dead_letters):,}"


def _messages(evidence: Evidence, verdict: Verdict) -> None:
    starts = evidence.records.starts(MESSAGE)
    calls: defaultdict[str, list[str]] = defaultdict(list)
    for call in starts:
        calls[call.payload].append(f"{call.instance} epoch {call.epoch} at {call.at_ns}")
    twice = [f"{payload}: {by}" for payload, by in calls.items() if len(by) > 1]
    verdict.none("messages called for more than once", twice, promised=evidence.durable)
    verdict.none("calls of a former holder that does not drain", _late_calls(evidence), promised=evidence.durable)
    verdict.none("messages handled out of turn at a take-over", _out_of_turn(evidence), promised=evidence.durable)
    holders: defaultdict[int, set[str]] = defaultdict(set)
    for call in starts:
        holders[call.epoch].add(call.instance)
    shared = [f"{epoch}: {names}" for epoch, names in holders.items() if len(names) > 1]
    verdict.none("epochs with two instances", shared, promised=evidence.durable)
    verdict.none("take-overs that never came", [cost for cost in evidence.costs if cost.seconds is None])
    published = evidence.publisher.confirmed
    missed = sum(message.payload not in calls for message in published)
    verdict.counted["messages published, of which missed"] = f"{len(published):,}, {missed:,}"
    verdict.counted["holders of the pub/sub lease, one after the other"] = str(len(holders))


def _late_calls(evidence: Evidence) -> list[str]:
    """Calls of an epoch that started after a newer one's first call.

    One that drains finishes what came before the hand-over, so its calls may.
    """
    drains = {ending.instance: ending.signalled_ns for ending in evidence.endings if ending.signalled is signal.SIGTERM}
    newest, since_ns, late = 0, 0, []
    for call in evidence.records.starts(MESSAGE):
        if call.epoch > newest:
            newest, since_ns = call.epoch, call.at_ns
        elif call.epoch < newest and drains.get(call.instance, call.at_ns) > since_ns:
            late.append(f"{call} after epoch {newest} began at {since_ns}")
    return late


def _out_of_turn(evidence: Evidence) -> list[str]:
    """Messages handled under an older epoch although an earlier one was handled under a newer.

    The publisher awaits each confirmation before it goes on, so confirmed messages have one order.
    """
    wrong, newest, first = [], 0, ""
    for message in evidence.publisher.confirmed:
        for call in evidence.records.of(message.payload, Moment.STARTED):
            if call.epoch < newest:
                wrong.append(f"{call.payload} by {call.instance} under {call.epoch}, {first} under {newest}")
            elif call.epoch > newest:
                newest, first = call.epoch, call.payload
    return wrong


def _processes(evidence: Evidence, verdict: Verdict) -> None:
    by_itself = [ending for ending in evidence.endings if ending.signalled is None]
    verdict.none("processes that ended by themselves", by_itself)
    drained = [ending for ending in evidence.endings if ending.signalled is signal.SIGTERM]
    verdict.none("drains that did not end well", [ending for ending in drained if ending.status != 0])
    verdict.none("errors that were not foreseen, in logs", evidence.unforeseen)
    longest = max((ending.seconds for ending in drained), default=0.0)
    verdict.counted["host processes, longest drain"] = f"{len(evidence.endings)}, {longest:.1f} s"
