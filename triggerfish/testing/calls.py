"""Calls one function of an app as a host does, without Redis."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from prometheus_client import CollectorRegistry

from listeners.engine.calling.executor import CLEAN_UP_SECONDS, Executor
from listeners.engine.calling.limits import Limits
from listeners.engine.failures import FailureLog
from listeners.engine.in_progress import InProgress
from listeners.engine.metrics import FunctionMetrics, HostMetrics
from listeners.engine.settlement import Outcome, Settlement
from listeners.errors import ConfigurationError
from listeners.functions.app import App, Function
from listeners.functions.entries import Entry, by_call
from listeners.functions.surroundings import Surroundings
from listeners.settings import HostSettings
from triggerfish.testing.clients import GivenClients
from triggerfish.testing.entries import TestEntry, entry_for, function_of

if TYPE_CHECKING:
    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

__all__ = ["CallResult", "call", "call_sync"]


@dataclass(frozen=True)
class CallResult:
    """What a host would do with an entry after its call.

    Attributes:
        outcome: "succeeded", "retried", "dead_lettered", or "dropped" (a pub/sub message whose call failed).
        delay_seconds: How long a retried entry waits for its next delivery. The back-off has jitter.
        error: Class and text of the exception, as in a dead letter; empty if the call succeeded.
        exception: What the function raised, or the conversion of its parameter. Of a very long one, a shortened copy.
    """

    outcome: Outcome
    delay_seconds: float = 0.0
    error: str = ""
    exception: BaseException | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the entry is done."""
        return self.outcome is Outcome.SUCCEEDED

    @property
    def retried(self) -> bool:
        """Whether the entry is delivered again."""
        return self.outcome is Outcome.RETRIED

    @property
    def dead_lettered(self) -> bool:
        """Whether the entry becomes a dead letter: rejected, or delivered too often."""
        return self.outcome is Outcome.DEAD_LETTERED


@overload
async def call(
    app: App,
    function: str | Callable[..., Any],
    entry: list[Any],
    *,
    deliveries: int | None = None,
    state: Any = None,
    redis: "AsyncRedis | None" = None,
    redis_sync: "Redis | None" = None,
) -> list[CallResult]: ...
@overload
async def call(
    app: App,
    function: str | Callable[..., Any],
    entry: TestEntry,
    *,
    deliveries: int | None = None,
    state: Any = None,
    redis: "AsyncRedis | None" = None,
    redis_sync: "Redis | None" = None,
) -> CallResult: ...
async def call(
    app: App,
    function: str | Callable[..., Any],
    entry: TestEntry | list[Any],
    *,
    deliveries: int | None = None,
    state: Any = None,
    redis: "AsyncRedis | None" = None,
    redis_sync: "Redis | None" = None,
) -> CallResult | list[CallResult]:
    """Call a function with an entry as a host does, and return what would become of the entry. Needs no Redis.

    Conversion, middleware, time limit, threads and retries are those of the host. The lifespan is not entered.

    Args:
        app: The app.
        function: The function, or its name in the app.
        entry: A list element or pub/sub message as str or bytes, a stream entry as a mapping of its fields, or any as
            a RedisMessage. For a function that takes a list, also a list of them, which has a result for each.
        deliveries: Which delivery of the entry this is. Default: that of the RedisMessage, or the first.
        state: What the function's context has as its state, in place of what the app's lifespan yields.
        redis: What the context has as `redis`: a client of redis-py without `decode_responses`, or a stand-in.
        redis_sync: The same for `redis_sync`, which `def` functions use.

    Raises:
        ConfigurationError: The app has no such function, or its trigger never delivers such an entry.
    """
    return await _called(app, function, entry, deliveries, _Given(state, GivenClients(redis, redis_sync)))


@overload
def call_sync(
    app: App,
    function: str | Callable[..., Any],
    entry: list[Any],
    *,
    deliveries: int | None = None,
    state: Any = None,
    redis: "AsyncRedis | None" = None,
    redis_sync: "Redis | None" = None,
) -> list[CallResult]: ...
@overload
def call_sync(
    app: App,
    function: str | Callable[..., Any],
    entry: TestEntry,
    *,
    deliveries: int | None = None,
    state: Any = None,
    redis: "AsyncRedis | None" = None,
    redis_sync: "Redis | None" = None,
) -> CallResult: ...
def call_sync(
    app: App,
    function: str | Callable[..., Any],
    entry: TestEntry | list[Any],
    *,
    deliveries: int | None = None,
    state: Any = None,
    redis: "AsyncRedis | None" = None,
    redis_sync: "Redis | None" = None,
) -> CallResult | list[CallResult]:
    """Do what `await call(...)` does, for tests that are not async. It runs an event loop.

    Raises ConfigurationError.
    """
    if asyncio._get_running_loop() is not None:
        raise ConfigurationError("call_sync", None, "An event loop is running. Write `await call(...)` instead.")
    given = _Given(state, GivenClients(redis, redis_sync))
    return asyncio.run(_called(app, function, entry, deliveries, given))


@dataclass(frozen=True)
class _Given:
    """What a test gives the context of a call."""

    state: Any
    clients: GivenClients


async def _called(
    app: App, function: str | Callable[..., Any], entry: TestEntry | list[Any], deliveries: int | None, given: _Given
) -> CallResult | list[CallResult]:
    found = function_of(app, function)
    if not isinstance(entry, list):
        [result] = await _deliver(app, found, [entry_for(found, entry, deliveries)], given)
        return result
    _check_batch(found, len(entry))
    return await _deliver(app, found, [entry_for(found, each, deliveries) for each in entry], given)


def _check_batch(function: Function, entries: int) -> None:
    if not function.binding.batch:
        fix = f"{function.name} takes one entry per call. Call it once for each, or have it take a list."
        raise ConfigurationError("entry", f"a list of {entries}", fix)
    most = Limits.of(function).batch_size
    if not 1 <= entries <= most:
        fix = f"A call of {function.name} gets from 1 to {most} entries."
        raise ConfigurationError("entry", f"a list of {entries}", fix)


async def _deliver(app: App, function: Function, entries: Sequence[Entry], given: _Given) -> list[CallResult]:
    """Make the calls that a host makes for entries taken at once, one after the other. Return a result for each entry.

    Failures are logged as a host logs them.
    """
    metrics = FunctionMetrics(HostMetrics(CollectorRegistry()), app.name, function.name)
    failures = FailureLog(function.name, function.trigger)
    surroundings = Surroundings.of(app.name, function, tuple(app.middlewares), given.clients, lambda: given.state)
    results: dict[Entry, CallResult] = {}
    try:
        for group in by_call(entries, batch=function.binding.batch):
            in_progress = InProgress(
                len(group),
                sys.maxsize,
                settles_successes=True,
                metrics=metrics,
                failures=failures,
            )
            in_progress.add(group)
            settlements = await _settlements(function, metrics, in_progress, group, surroundings)
            in_progress.settled(settlements)
            results |= {settlement.entry: _result(settlement) for settlement in settlements}
    finally:
        failures.close()
    return [results[entry] for entry in entries]


async def _settlements(
    function: Function,
    metrics: FunctionMetrics,
    in_progress: InProgress,
    entries: Sequence[Entry],
    surroundings: Surroundings | None,
) -> list[Settlement]:
    """Call the function once, and return what becomes of each entry."""
    executor = Executor(
        function,
        metrics,
        1,
        max_abandoned=1,
        max_model_bytes=HostSettings().max_model_bytes,
        may_start=lambda entry: True,
        results=in_progress,
        on_free=lambda: None,
        on_abandoned=lambda: None,
        surroundings=surroundings,
    )
    executor.start([entries])
    try:
        await executor.idle.wait()
    except asyncio.CancelledError:
        await executor.cancel(CLEAN_UP_SECONDS)
        raise
    finally:
        executor.close()
    return in_progress.pop_finished()


def _result(settlement: Settlement) -> CallResult:
    exception = settlement.failure.in_full().exception if settlement.failure else None
    return CallResult(settlement.outcome, settlement.delay_ms / 1000, settlement.error, exception)
