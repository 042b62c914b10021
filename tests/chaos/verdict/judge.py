"""Judges a run by the processes' records, the producers' confirmations and what is left on the servers."""

import signal

from tests.chaos.verdict.dead_letters import judge_dead_letters
from tests.chaos.verdict.entries import judge_entries
from tests.chaos.verdict.evidence import Evidence
from tests.chaos.verdict.findings import Verdict
from tests.chaos.verdict.messages import judge_messages

__all__ = ["judge"]


def judge(evidence: Evidence) -> Verdict:
    """Verify every guarantee."""
    verdict = Verdict()
    judge_entries(evidence, verdict)
    judge_dead_letters(evidence, verdict)
    judge_messages(evidence, verdict)
    _judge_processes(evidence, verdict)
    return verdict


def _judge_processes(evidence: Evidence, verdict: Verdict) -> None:
    poisoned = evidence.poisoned
    unpoisoned = [ending for ending in evidence.endings if ending not in poisoned]
    by_themselves = [ending for ending in unpoisoned if ending.signalled is None]
    verdict.expect_none("processes that exited by themselves", by_themselves)
    drained = [ending for ending in unpoisoned if ending.signalled is signal.SIGTERM]
    verdict.expect_none("drains with a non-zero exit status", [ending for ending in drained if ending.status != 0])
    verdict.expect_none("unexpected errors in logs", evidence.unexpected_errors)
    longest = max((ending.seconds for ending in drained), default=0.0)
    verdict.counted["host processes, longest drain"] = f"{len(evidence.endings)}, {longest:.1f} s"
