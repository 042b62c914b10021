"""Entries that cannot be settled: which slots they leave to others, and what becomes of them at a drain."""

import pytest
import redis.asyncio
from prometheus_client import CollectorRegistry

from listeners.engine.failures import FailureLog
from listeners.engine.in_progress import InProgress
from listeners.engine.metrics import FunctionMetrics, HostMetrics
from listeners.engine.settlement import Outcome, Refusal, Settlement
from listeners.errors import AccessDeniedError, SourceError, SourceTimeoutError, SourceUnavailableError
from listeners.functions.entries import Entry
from listeners.functions.triggers import ListTrigger
from listeners.keys import dead_letters_key
from tests.support.running_host import RunHost
from tests.support.trigger_kinds import KEY, Kind, add, both_kinds, dead_letters, settled, trigger
from tests.support.waiting import eventually
from triggerfish import App, Reject

CAPACITY = 3


@pytest.mark.parametrize(
    ("error", "number", "free"),
    [
        (AccessDeniedError("no"), 2, 1),
        (AccessDeniedError("no"), 3, 0),
        (SourceUnavailableError("down"), 2, 3),
        (SourceTimeoutError("down"), 3, 3),
        (SourceUnavailableError("down"), 4, 2),
        (SourceUnavailableError("down"), 6, 0),
    ],
)
def test_slots(error: SourceError, number: int, free: int) -> None:
    """What is refused keeps its slot. What a node that is down keeps from being settled does not, up to a bound."""
    metrics = FunctionMetrics(HostMetrics(CollectorRegistry()), "app", "f")
    failures = FailureLog("f", ListTrigger(keys=("q",)))
    in_progress = InProgress(CAPACITY, 1_000, settles_successes=True, metrics=metrics, failures=failures)
    entries = [Entry("q", payload=b"x") for _ in range(number)]
    in_progress.add(entries)
    in_progress.refuse([Refusal(Settlement(entry, Outcome.SUCCEEDED), error) for entry in entries])
    assert in_progress.free_slots() == free


@pytest.mark.releases("valkey-9.1")
@both_kinds
async def test_a_drain_tries_once_more(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was refused is settled at the end of a drain, if that is possible by then."""
    monkeypatch.setattr("listeners.engine.resilient_loop.FIRST_PAUSE_SECONDS", 3_600.0)
    app = App()

    @trigger(app, kind)
    async def handle(payload: str) -> None:
        raise Reject

    await client.set(dead_letters_key(KEY), "of the wrong type")
    await add(client, kind, "1")
    async with run_host(app) as host:
        labels = {"app": "test", "function": "handle", "reason": "wrong_type"}
        await eventually(lambda: host.registry.get_sample_value("triggerfish_source_errors_total", labels))
        await client.delete(dead_letters_key(KEY))
    assert len(await dead_letters(client)) == 1
    assert await settled(client, kind)
