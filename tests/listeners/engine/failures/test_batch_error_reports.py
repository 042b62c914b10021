"""`BatchError`: what is logged, and what ten thousand reasons cost."""

import logging
from collections.abc import Mapping

import pytest
import redis.asyncio

from listeners.engine import failures
from listeners.engine.calling.outcomes import failed_in_part
from listeners.functions.entries import Entry
from tests.listeners.engine.failures.batches import SIX, batch_function, no_stock
from tests.support.running_host import RunHost
from tests.support.trigger_kinds import Kind, add, both_kinds, settled, trigger
from tests.support.waiting import eventually
from triggerfish import App, BatchError, RedisMessage, Reject, Retry

pytestmark = [
    pytest.mark.usefixtures("quick_retries", "quick_reclaims"),
    pytest.mark.releases("redis-5.0", "redis-6.2", "valkey-9.1"),
]


@both_kinds
async def test_the_log(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    """A batch that fails in part is one line with the traceback of the worst reason, as for one that fails."""
    app, calls = App("test"), list[list[str]]()

    def reasons(payloads: list[str], first: RedisMessage) -> Mapping[int, BaseException]:
        if len(payloads) == 1:
            return {}
        later: dict[int, BaseException] = {2: Retry(after_seconds=0), 0: Retry(after_seconds=0)}
        return later if payloads[0] == "later" else {**later, 3: no_stock("3"), 4: Reject("never")}

    trigger(app, kind, batch_size=6)(batch_function(calls, reasons, is_async=True))
    with caplog.at_level(logging.INFO, "triggerfish.host"):
        await add(client, kind, *SIX)
        async with run_host(app):
            await eventually(lambda: len(calls) == 4)
            await eventually(lambda: settled(client, kind))
            await add(client, kind, "later", *"abcde")
            await eventually(lambda: len(calls) == 7)
            await eventually(lambda: settled(client, kind))
    records = [record for record in caplog.records if "of 6 entries" in record.getMessage()]
    mixed, requested = [record.getMessage() for record in records]
    assert mixed.startswith("on_batch: 4 of 6 entries in one call, from 'work'")
    assert "failed (3 to be tried again, 1 dead-lettered): " in mixed
    assert [record.levelname for record in records] == ["ERROR", "INFO"]
    assert records[0].exc_info
    assert requested.endswith(
        "failed (2 to be tried again): Retry: the function requested a retry (" + _place(requested)
    )


def _place(line: str) -> str:
    return line.rpartition(" (")[2]


@pytest.mark.releases("valkey-9.1")
@both_kinds
async def test_ten_thousand_names(client: redis.asyncio.Redis, run_host: RunHost, kind: Kind) -> None:
    """All entries of the largest batch may be named. Each is called again once, and nothing is logged for each."""
    app, payloads, calls = App("test"), [str(number) for number in range(10_000)], list[list[str]]()

    def reasons(payloads: list[str], first: RedisMessage) -> Mapping[int, BaseException]:
        if len(payloads) == 1:
            return {}
        return {at: no_stock(payload) for at, payload in enumerate(payloads)}

    trigger(app, kind, batch_size=10_000, batch_window_ms=300_000)(batch_function(calls, reasons, is_async=True))
    await add(client, kind, *payloads)
    async with run_host(app):
        await eventually(lambda: len(calls) == 10_001, seconds=120)
        await eventually(lambda: settled(client, kind))
    assert len(calls[0]) == 10_000
    assert sorted(call for [call] in calls[1:]) == sorted(payloads)


def test_tracebacks_are_formatted_only_where_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Formatting ten thousand tracebacks would block the event loop for seconds."""
    app, formatted = App(), list[BaseException]()

    @app.list_trigger(keys="q", batch_size=10_000)
    async def on_batch(messages: list[RedisMessage]) -> None: ...

    original = failures._formatted

    def counting(error: BaseException) -> str:
        formatted.append(error)
        return original(error)

    monkeypatch.setattr(failures, "_formatted", counting)
    entries = [Entry("q", payload=b"x") for _ in range(10_000)]
    error = BatchError({at: no_stock(str(at)) for at in range(1, 10_000)})
    settlements, succeeded = failed_in_part(app.functions["on_batch"], entries, error)
    assert (len(settlements), succeeded, formatted) == (9_999, entries[:1], [])
    assert settlements[-1].failure is not None
    assert "in no_stock" in settlements[-1].failure.in_full().traceback
    assert formatted == [error.failures[9_999]]
