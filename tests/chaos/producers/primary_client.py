"""A client of a key's primary that reports whether a command was confirmed."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import redis.asyncio
from redis.exceptions import RedisError

from tests.chaos.scenarios.scenario import Scenario, client

__all__ = ["TIMEOUT_SECONDS", "PrimaryClient"]

TIMEOUT_SECONDS = 3.0


@dataclass
class PrimaryClient:
    """A client of a key's primary, which is looked up again after every failure. The client's timeouts bound calls."""

    scenario: Scenario
    key: str
    _client: redis.asyncio.Redis | None = None

    async def execute(self, command: Callable[[redis.asyncio.Redis], Awaitable[None]]) -> bool:
        """Return whether the command was confirmed. A command without confirmation may still have been executed."""
        try:
            if self._client is None:
                self._client = client(await self.scenario.port_of(self.key), TIMEOUT_SECONDS)
            await command(self._client)
        except (RedisError, OSError, TypeError) as error:
            # Python 3.13's asyncio raises this when it writes to a lost connection.
            if isinstance(error, TypeError) and str(error) != "'NoneType' object is not callable":
                raise
            await self.close()
            return False
        return True

    async def close(self) -> None:
        """Disconnect."""
        if self._client is not None:
            await self._client.aclose(close_connection_pool=True)
            self._client = None
