"""Judges whether entries were lost or repeated."""

from tests.chaos.hosts.app import BATCH_SIZE, CONCURRENT_BATCHES
from tests.chaos.records.calls import Moment
from tests.chaos.verdict.evidence import Evidence
from tests.chaos.verdict.findings import Finding, Verdict

__all__ = ["BATCHES", "judge_entries"]

#: How many batches a process has in progress: one of the lists, one of the first stream, and those of the second.
BATCHES = 2 + CONCURRENT_BATCHES
#: Faults that end the leases of one process.
OF_ONE_HOST = ("host: SIGKILL", "host: SIGSTOP, SIGCONT", "call: ends its process", "call: holds the GIL")
#: Faults of servers and network that cannot prevent the renewal of a lease.
HARMLESS = ("network: slow", "FLUSHALL")


def judge_entries(evidence: Evidence, verdict: Verdict) -> None:
    """Verify that every confirmed entry was finished, and that no more were repeated than the faults explain."""
    records, confirmed = evidence.records, evidence.confirmed
    times = {payload: len(records.of(payload, Moment.HANDLED)) for payload in [*confirmed, *evidence.unconfirmed]}
    dead = {letter.payload for letter in evidence.dead_letters}
    unhandled = [payload for payload in confirmed if not times[payload] and payload not in dead]
    verdict.expect_none("confirmed entries lost", [each for each in unhandled if each not in evidence.flushed.entries])
    if evidence.flushed.entries:
        lost = sum(payload in evidence.flushed.entries for payload in unhandled)
        verdict.counted["entries lost by Redis (flushed)"] = f"{lost:,}"
    not_replicated = evidence.not_replicated
    if not_replicated:
        lost = sum(not times[payload] and payload not in dead for payload in not_replicated)
        verdict.counted["entries not replicated in time, of which lost by Redis"] = f"{len(not_replicated):,}, {lost:,}"
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

    A process has a bounded number of batches in progress. Entries that it has handled but not settled are delivered
    again if it dies or hangs. If Redis is unreachable for longer than a lease, this applies to every process.
    """
    in_progress = BATCHES * BATCH_SIZE
    kills = sum(evidence.faults[name] for name in OF_ONE_HOST) + len(evidence.costs)
    outages = sum(
        number
        for name, number in evidence.faults.items()
        if not name.startswith(("host: ", "call: ")) and name not in HARMLESS
    )
    return in_progress * (kills + outages * evidence.hosts)
