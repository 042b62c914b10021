"""The clients of redis-py that a test gives, in place of those for the trigger's connection."""

from typing import TYPE_CHECKING

from listeners.errors import ConfigurationError
from listeners.redis.app_clients import not_on_loop, running_loop, would_block

if TYPE_CHECKING:
    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

__all__ = ["GivenClients"]


class GivenClients:
    """What `context.redis` and `context.redis_sync` are in a call without a host, which refuses the same mistakes."""

    def __init__(self, redis: "AsyncRedis | None", redis_sync: "Redis | None") -> None:
        self._redis, self._redis_sync = redis, redis_sync

    @property
    def on_loop(self) -> "AsyncRedis":
        """The client for async functions and middleware. Raises ConfigurationError."""
        if running_loop() is None:
            raise not_on_loop()
        if self._redis is None:
            raise _missing("redis")
        return self._redis

    @property
    def on_threads(self) -> "Redis":
        """The client for `def` functions. Raises ConfigurationError."""
        if running_loop() is not None:
            raise would_block()
        if self._redis_sync is None:
            raise _missing("redis_sync")
        return self._redis_sync


def _missing(name: str) -> ConfigurationError:
    fix = f"Give the call a client, call(..., {name}=CLIENT), or run the app with triggerfish.testing.running()."
    return ConfigurationError(f"context.{name}", None, fix)
