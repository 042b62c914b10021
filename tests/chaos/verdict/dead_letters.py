"""Judges whether exactly the right entries became dead letters, and for the right reason."""

import signal
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from tests.chaos.hosts.app import MAX_DELIVERIES
from tests.chaos.producers.messages import MESSAGE
from tests.chaos.records.calls import Call, Moment
from tests.chaos.records.fates import Fate, fate
from tests.chaos.records.letters import Letter
from tests.chaos.verdict.evidence import Evidence
from tests.chaos.verdict.findings import Verdict

__all__ = ["judge_dead_letters"]

#: What the errors of dead letters contain: of entries that the function rejected, and of suspects.
REJECTION = "Reject: "
DEATHS = "the last time alone in its process, which died or hung"


def judge_dead_letters(evidence: Evidence, verdict: Verdict) -> None:
    """Verify that dead letters are rejected entries, poison, and entries charged with deaths, and none is missing."""
    letters = evidence.dead_letters
    numbers = Counter(letter.payload for letter in letters)
    for fated, what in ((Fate.IS_REJECTED, "rejected"), (Fate.ENDS_PROCESS, "poison")):
        expected = [payload for payload in evidence.confirmed if fate(evidence.seed, payload) is fated]
        missing = [payload for payload in expected if not numbers[payload] and payload not in evidence.flushed.entries]
        verdict.expect_none(f"{what} entries without a dead letter", missing)
    verdict.expect_none("entries dead-lettered twice", [payload for payload, number in numbers.items() if number > 1])
    uncalled = [letter for letter in letters if not evidence.records.of(letter.payload, Moment.STARTED)]
    verdict.expect_none("entries dead-lettered uncalled", uncalled)
    verdict.expect_none("dead letters for no valid reason", [each for each in letters if not _is_valid(evidence, each)])
    verdict.expect_none("dead letters for deaths of processes that ran other calls, too", _not_alone(evidence, verdict))
    _judge_poison(evidence, verdict)
    reasons = Counter(_reason(evidence, letter) for letter in letters)
    for reason, number in sorted(reasons.items()):
        verdict.counted[f"dead letters: {reason}"] = f"{number:,}"


def _is_valid(evidence: Evidence, letter: Letter) -> bool:
    if REJECTION in letter.error:
        return fate(evidence.seed, letter.payload) is Fate.IS_REJECTED
    return DEATHS in letter.error and letter.deliveries >= MAX_DELIVERIES


def _reason(evidence: Evidence, letter: Letter) -> str:
    if DEATHS not in letter.error:
        return letter.error
    is_poison = fate(evidence.seed, letter.payload) is Fate.ENDS_PROCESS
    return "poison" if is_poison else "process killed or hung while the entry was called alone"


def _not_alone(evidence: Evidence, verdict: Verdict) -> list[str]:
    """Return the dead letters for which more calls were counted than failed or were the only one in their process.

    A call that ended well counts if it could not be settled, because its process hung or was cut off beyond its lease.
    A call also counts if the process was killed or cut off after Redis had recorded that it begins.
    """
    by_instance = evidence.records.calls_by_instance(without=MESSAGE)
    wrong, interrupted = [], 0
    for letter in evidence.dead_letters:
        if DEATHS in letter.error:
            calls = evidence.records.calls(letter.payload)
            failed = sum(call.failed for call in calls)
            alone = sum(_is_alone(call, by_instance[call.start.instance]) for call in calls if not call.failed)
            unexplained = max(0, letter.deliveries - failed - alone)
            if unexplained > _interrupted_begins(evidence, letter, calls, by_instance):
                wrong.append(f"{letter}: {failed} calls failed, {alone} were alone in their process")
            else:
                interrupted += unexplained
    verdict.counted["calls counted although their process was killed or cut off before they began"] = str(interrupted)
    return wrong


def _interrupted_begins(
    evidence: Evidence, letter: Letter, calls: Sequence[Call], by_instance: Mapping[str, Sequence[Call]]
) -> int:
    """Return how often Redis may have recorded that a call with this entry begins which did not.

    A log tells if Redis did not answer in time, but not if the process was killed. It called nothing else then.
    """
    lines = (f": beginning with {letter.name}: ", f": {letter.name} not called alone: ")
    logged = sum(any(line in log for line in lines) for log in evidence.interrupted_begins)
    quiet_kills = sum(
        ending.signalled is signal.SIGKILL
        and any(ending.signalled_ns > call.start.at_ns for call in calls)
        and all(call.end is not None for call in by_instance.get(ending.instance, ()))
        for ending in evidence.endings
    )
    return logged + quiet_kills


def _is_alone(call: Call, of_instance: Sequence[Call]) -> bool:
    """Return whether no other call of the process ran at any time of this one."""
    return not any(
        other.start.payload != call.start.payload
        and other.start.at_ns < call.ended_ns
        and other.ended_ns > call.start.at_ns
        for other in of_instance
    )


def _judge_poison(evidence: Evidence, verdict: Verdict) -> None:
    """Verify that a poison entry ended no more processes than allowed.

    One death before it was a suspect, and one for each call that is counted. Where Redis may lose what hosts have
    written, each failover may lose the record of one call.
    """
    deaths: defaultdict[str, list[str]] = defaultdict(list)
    died = {ending.instance for ending in evidence.endings if ending.status != 0}
    for payload in evidence.records.by_payload:
        if not payload.startswith(MESSAGE) and fate(evidence.seed, payload) is Fate.ENDS_PROCESS:
            open_calls = (call for call in evidence.records.calls(payload) if call.end is None)
            deaths[payload] += [call.start.instance for call in open_calls if call.start.instance in died]
    failovers = 0 if evidence.durable else sum(n for name, n in evidence.faults.items() if "failover" in name)
    limit = MAX_DELIVERIES + 1 + failovers
    wrong = [f"{payload}: {instances}" for payload, instances in deaths.items() if len(instances) > limit]
    verdict.expect_none(f"poison entries that ended more than {limit} processes", wrong)
    most = max(map(len, deaths.values()), default=0)
    verdict.counted["poison entries called, most processes ended by one"] = f"{len(deaths)}, {most}"
