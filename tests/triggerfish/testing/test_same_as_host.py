"""Calls without a server end as they do in a real host: the same outcomes, delays and lines in the log."""

import asyncio
import functools
import logging
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis.asyncio
from pydantic import BaseModel, SecretStr

from listeners.connections.named import Connections
from tests.support.running_host import RunHost
from tests.support.waiting import eventually
from triggerfish import App, BatchError, Host, RedisMessage, Reject, Retry
from triggerfish.testing import CallResult, Server, call
from triggerfish.unfinished import Unfinished

#: Above HostSettings.max_model_bytes.
LARGE = "[" + " " * 2 * 1024 * 1024 + "]"


class Order(BaseModel):
    """What an entry holds."""

    number: int


async def succeeds(order: Order) -> None:
    assert order.number == 1


async def asks_for_a_retry_at_first(message: RedisMessage) -> None:
    if message.deliveries == 1:
        raise Retry("not yet", after_seconds=0.1)


async def asks_for_retries(message: RedisMessage) -> None:
    raise Retry(f"delivery {message.deliveries}")


async def rejects(order: Order) -> None:
    raise Reject(f"order {order.number}")


async def fails(order: Order) -> None:
    raise ValueError(order.number)


async def exits(order: Order) -> None:
    raise SystemExit(order.number)


async def is_slow(_: str) -> None:
    await asyncio.sleep(60)


def blocks(_: str) -> None:
    time.sleep(0.4)


def succeeds_on_a_thread(order: Order) -> None:
    assert order.number == 1


def fails_on_a_thread(_: str) -> None:
    raise StopIteration("ended")


async def takes_a_batch(orders: list[Order]) -> None:
    if any(order.number == 2 for order in orders):
        raise ValueError(f"2 among {len(orders)}")


async def names_entries(orders: list[Order]) -> None:
    if failures := {at: ValueError("it is 2") for at, order in enumerate(orders) if order.number == 2}:
        raise BatchError(failures)


def rejects_entries(orders: list[Order]) -> None:
    if failures := {at: Reject("it is 2") for at, order in enumerate(orders) if order.number == 2}:
        raise BatchError(failures)


async def names_others(orders: list[Order]) -> None:
    raise BatchError({3: ValueError("it is not there")})


async def takes_large(numbers: list[list[int]]) -> None:
    assert numbers


@dataclass(frozen=True)
class Case:
    """A function of a trigger, and entries for it."""

    handler: Callable[..., Any]
    entries: list[Any]
    kind: str = "list"
    options: dict[str, Any] = field(default_factory=dict)

    def app(self) -> App:
        """Return an app with the function."""
        app = App("same")
        options = self.options if self.kind == "pubsub" else {"max_deliveries": 2, **self.options}
        where = {"channel": "q"} if self.kind == "pubsub" else {"keys": "q"}
        getattr(app, f"{self.kind}_trigger")(**where, **options)(self.handler)
        return app


ONE, TWO, INVALID = '{"number": 1}', '{"number": 2}', '{"number": "x"}'
LIMIT = {"call_timeout_seconds": 0.1}
CASES = {
    "success": Case(succeeds, [ONE]),
    "success on a thread": Case(succeeds_on_a_thread, [ONE]),
    "success of a stream": Case(succeeds, [{"number": 1}], "stream"),
    "Retry, then success": Case(asks_for_a_retry_at_first, ["x"]),
    "Retry, then success, of a stream": Case(asks_for_a_retry_at_first, [{"a": "b"}], "stream"),
    "Retry too often": Case(asks_for_retries, ["x"]),
    "Reject": Case(rejects, [ONE]),
    "Reject of a stream": Case(rejects, [{"number": 1}], "stream"),
    "invalid payload": Case(succeeds, [INVALID]),
    "invalid fields": Case(succeeds, [{"number": "x"}], "stream"),
    "missing field": Case(succeeds, [{"other": "1"}], "stream"),
    "not UTF-8": Case(is_slow, [b"\xff"]),
    "failure": Case(fails, [ONE]),
    "failure of a stream": Case(fails, [{"number": 1}], "stream"),
    "failure with one delivery": Case(fails, [ONE], options={"max_deliveries": 1}),
    "failure on a thread": Case(fails_on_a_thread, ["x"]),
    "SystemExit": Case(exits, [ONE]),
    "time limit": Case(is_slow, ["x"], options=LIMIT),
    "time limit on a thread": Case(blocks, ["x"], options=LIMIT),
    "batch": Case(takes_a_batch, [ONE, ONE, ONE]),
    "batch that fails": Case(takes_a_batch, [ONE, TWO, ONE]),
    "batch with an invalid entry": Case(takes_a_batch, [ONE, INVALID, ONE]),
    "batch that fails, with an invalid entry": Case(takes_a_batch, [ONE, INVALID, TWO]),
    "batch of a stream": Case(takes_a_batch, [{"number": 1}, {"number": 2}], "stream"),
    "batch that fails in part": Case(names_entries, [ONE, TWO, ONE]),
    "batch that fails in part, on a thread": Case(rejects_entries, [ONE, INVALID, TWO]),
    "batch that fails in part, of a stream": Case(names_entries, [{"number": 2}, {"number": 1}], "stream"),
    "batch that fails in part, at most once": Case(names_entries, [ONE, TWO], options={"delivery": "at-most-once"}),
    "batch that names others": Case(names_others, [ONE, ONE]),
    "too large to validate": Case(takes_large, [LARGE]),
    "at most once": Case(fails, [ONE], options={"delivery": "at-most-once"}),
    "message": Case(succeeds, [ONE], "pubsub"),
    "message that fails": Case(fails, [ONE], "pubsub"),
    "message that is invalid": Case(succeeds, [INVALID], "pubsub"),
}


@pytest.fixture(autouse=True)
def _known_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the back-off short, and without jitter."""
    monkeypatch.setattr("listeners.engine.retry_policy.FIRST_RETRY_SECONDS", 0.2)
    monkeypatch.setattr("listeners.runtime.backoff.random.uniform", lambda low, high: high)


@pytest.mark.releases("valkey-9.1")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_they_agree(
    server: Server, client: redis.asyncio.Redis, run_host: RunHost, case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    """From its first delivery to its last, each entry has the outcomes, delays and errors of a real host."""
    caplog.set_level(logging.INFO)
    results = await results_of(case)
    lines = failures_in(caplog)
    caplog.clear()
    outcomes = Counter(result.outcome.value for result in results)
    app = case.app()
    async with run_host(app) as host:
        await push(client, case)
        await until_handled(server, app, host, results)
        assert settled(host) == outcomes
    assert failures_in(caplog) == lines
    failed = [result for result in results if not result.succeeded]
    assert all(any(shown(result) in line for line in lines) for result in failed), (failed, lines)
    assert bool(failed) == bool(lines)


async def results_of(case: Case) -> list[CallResult]:
    """Call the function with each entry until it is not retried, and return all results."""
    app, name = case.app(), case.handler.__name__
    pending = [(entry, 1) for entry in case.entries]
    results: list[CallResult] = []
    if app.functions[name].binding.batch:
        batch: list[CallResult] = await call(app, name, case.entries)
        results += batch
        pending = [(entry, 2) for entry, result in zip(case.entries, batch, strict=True) if result.retried]
    for entry, first in pending:
        deliveries = first
        while True:
            result = await call(app, name, entry, deliveries=deliveries)
            results.append(result)
            if not result.retried:
                break
            deliveries += 1
    return results


async def push(client: redis.asyncio.Redis, case: Case) -> None:
    """Add the entries as a producer does."""
    async with client.pipeline() as pipeline:  # at once, so that a batch has all of them
        for entry in case.entries:
            if case.kind == "list":
                pipeline.rpush("q", entry)
            elif case.kind == "stream":
                pipeline.xadd("q", entry)
        await pipeline.execute()
    if case.kind == "pubsub":
        for entry in case.entries:
            await eventually(functools.partial(client.publish, "q", entry))


async def until_handled(server: Server, app: App, host: Host, results: list[CallResult]) -> None:
    """Wait until nothing is left, and as many outcomes are counted as are expected."""
    await eventually(lambda: settled(host).total() >= len(results))
    unfinished = Unfinished(app, Connections(SecretStr(server.address)))
    await asyncio.wait_for(unfinished.wait_until_empty(host, 0.01), 30)
    await unfinished.close()


def settled(host: Host) -> Counter[str]:
    """Return how many entries had each outcome."""
    samples = [sample for metric in host.registry.collect() for sample in metric.samples]
    return +Counter(
        {
            sample.labels["outcome"]: int(sample.value)
            for sample in samples
            if sample.name == "triggerfish_entries_settled_total"
        }
    )


def failures_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines about failed calls and their levels, without the IDs of stream entries."""
    found = ("failed", "dead-lettered")
    lines = [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
    return sorted(re.sub(r" \d+-\d+", "", line) for line in lines if any(word in line for word in found))


def shown(result: CallResult) -> str:
    """Return how a line of the log shows what became of an entry."""
    if result.retried and result.delay_seconds:
        return f"next in {result.delay_seconds:.1f} s): {result.error}"
    return result.error
