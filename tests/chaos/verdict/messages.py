"""Judges whether each message was handled by one instance, the holder of the lease, and in order."""

import signal
from collections import defaultdict

from tests.chaos.producers.messages import MESSAGE
from tests.chaos.records.calls import Moment
from tests.chaos.verdict.evidence import Evidence
from tests.chaos.verdict.findings import Verdict

__all__ = ["judge_messages"]


def judge_messages(evidence: Evidence, verdict: Verdict) -> None:
    """Verify that each message was handled once at most, by the holder of the lease, and in order at a takeover."""
    starts = evidence.records.starts(MESSAGE)
    calls: defaultdict[str, list[str]] = defaultdict(list)
    for call in starts:
        calls[call.payload].append(f"{call.instance} epoch {call.epoch} at {call.at_ns}")
    twice = [f"{payload}: {by}" for payload, by in calls.items() if len(by) > 1]
    exclusive = evidence.exclusive_lease
    verdict.expect_none("messages with more than one call", twice, guaranteed=exclusive)
    verdict.expect_none("calls by a former holder that was not draining", _late_calls(evidence), guaranteed=exclusive)
    verdict.expect_none("messages handled out of order at a takeover", _out_of_order(evidence), guaranteed=exclusive)
    holders: defaultdict[int, set[str]] = defaultdict(set)
    for call in starts:
        holders[call.epoch].add(call.instance)
    shared = [f"{epoch}: {names}" for epoch, names in holders.items() if len(names) > 1]
    verdict.expect_none("epochs with more than one instance", shared, guaranteed=exclusive)
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
