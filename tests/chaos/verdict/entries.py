"""Judges whether entries were lost, repeated or dead-lettered wrongly."""

from collections import Counter

from tests.chaos.hosts.app import BATCH_SIZE
from tests.chaos.records.calls import Fate, Moment, fate
from tests.chaos.verdict.evidence import Evidence
from tests.chaos.verdict.findings import Finding, Verdict

__all__ = ["judge_dead_letters", "judge_entries"]

#: Number of functions that take batches: one reads lists, two read streams.
POLLED_FUNCTIONS = 3
#: Faults that cannot prevent the renewal of a lease.
HARMLESS = ("network: slow", "host: SIGTERM")


def judge_entries(evidence: Evidence, verdict: Verdict) -> None:
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


def judge_dead_letters(evidence: Evidence, verdict: Verdict) -> None:
    dead = Counter(evidence.dead_letters)
    rejected = {p for p in evidence.confirmed if fate(evidence.seed, p) is Fate.IS_REJECTED}
    verdict.expect_none("rejected entries without a dead letter", sorted(rejected - set(dead)))
    wrong = [payload for payload in dead if fate(evidence.seed, payload) is not Fate.IS_REJECTED]
    verdict.expect_none("dead letters of entries that were not rejected", wrong)
    verdict.expect_none("entries dead-lettered twice", [payload for payload, number in dead.items() if number > 1])
    verdict.counted["dead letters (rejected on purpose)"] = f"{len(evidence.dead_letters):,}"
