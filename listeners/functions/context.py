"""What a function may ask about the call that runs it: `Context`."""

import logging
import math
import time
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol

from listeners.errors import ConfigurationError
from listeners.functions.entries import Entry
from listeners.runtime.logs import CALL_LOGGER, steady_logger

if TYPE_CHECKING:
    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis
    from typing_extensions import TypeVar

    State = TypeVar("State", default=Any)
else:
    from typing import TypeVar

    State = TypeVar("State")

__all__ = ["Context", "RedisClients", "context_of"]


class RedisClients(Protocol):
    """Two clients for one Redis, for code on the event loop and for code on threads."""

    @property
    def on_loop(self) -> "AsyncRedis":
        """The client for async functions and middleware."""
        ...

    @property
    def on_threads(self) -> "Redis":
        """The client for plain functions."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Context(Generic[State]):
    """One call of a function. A function that has a parameter annotated as `Context`, or `Context[State]`, gets it.

    `key`, `id` and `deliveries` are those of the entry. A call with a batch has the key and the ID of its first entry,
    the IDs of all entries in `ids`, and the same number of deliveries for all of them. A test can make a context of its
    own, `Context(state=...)`, or have `triggerfish.testing.call(..., redis=...)` make one with a client.

    Attributes:
        state: What the app's lifespan has yielded; None without a lifespan.
        app: Name of the app.
        function: Name of the function.
        key: Key of the list or stream, or the channel that the message was published on.
        id: ID of the stream entry.
        ids: IDs of all stream entries of the call.
        deliveries: Which call with this entry this is, counted from 1.
        epoch: Fencing token of the pub/sub lease, which increases with every change of holder.
        ends_at: When the call's time limit ends (time.perf_counter).
        clients: The clients behind `redis` and `redis_sync`.
    """

    state: State
    app: str = "app"
    function: str = "function"
    key: str = ""
    id: str | None = None
    ids: tuple[str, ...] = ()
    deliveries: int = 1
    epoch: int | None = None
    ends_at: float = math.inf
    clients: RedisClients | None = field(default=None, repr=False)

    @property
    def seconds_left(self) -> float:
        """How much of the call's time limit is left, in seconds."""
        return max(0.0, self.ends_at - time.perf_counter())

    @property
    def log(self) -> "logging.LoggerAdapter[logging.Logger]":
        """A logger whose records have `function`, `key` and `id`. The lines of the host begin with them."""
        return _CallLog(_function_log, {"function": self.function, "key": self.key, "id": self.id})

    @property
    def redis(self) -> "AsyncRedis":
        """A client of redis-py for the trigger's Redis: `await context.redis.get("key")`. A `def` function uses
        `redis_sync`.

        All async functions of a process share it, and at most 10 connections. It returns bytes, and repeats no command.
        In a cluster it is a `redis.asyncio.RedisCluster`, which has the same commands.

        Raises:
            ConfigurationError: The code is not running on the host's event loop.
        """
        return self._clients("redis").on_loop

    @property
    def redis_sync(self) -> "Redis":
        """The same for a `def` function, which runs on a thread: `context.redis_sync.get("key")`.

        All functions that are not async share it. In a cluster it is a `redis.RedisCluster`.

        Raises:
            ConfigurationError: The code is running on an event loop, which the client would block.
        """
        return self._clients("redis_sync").on_threads

    def _clients(self, wanted: str) -> RedisClients:
        if self.clients is None:
            fix = (
                f"This context was made without a client. Have triggerfish.testing.call(..., {wanted}=CLIENT) make it."
            )
            raise ConfigurationError(f"context.{wanted}", None, fix)
        return self.clients


def context_of(
    entries: Sequence[Entry], *, app: str, function: str, state: Any, ends_at: float, clients: RedisClients | None
) -> Context[Any]:
    """Return the context of a call with these entries."""
    first = entries[0]
    return Context(
        state=state,
        app=app,
        function=function,
        key=first.key,
        id=first.id,
        ids=tuple([entry.id for entry in entries if entry.id is not None]),
        deliveries=first.deliveries,
        epoch=first.epoch,
        ends_at=ends_at,
        clients=clients,
    )


_function_log = steady_logger(CALL_LOGGER)


class _CallLog(logging.LoggerAdapter[logging.Logger]):
    """Adds what it was made with to each record, beside what the caller adds."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        own: Mapping[str, object] = self.extra or {}
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **own}
        return msg, kwargs
