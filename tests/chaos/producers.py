"""Produces entries and messages, and knows of each whether the server confirmed it."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import redis.asyncio
from redis.exceptions import RedisError

from tests.chaos.app import CHANNEL, EMPTIED_STREAM, LISTS, STREAM
from tests.chaos.scenario import Scenario, client

__all__ = ["KEYS", "MESSAGE", "Producer", "Publication", "Publisher", "producers"]

KEYS = (*LISTS, STREAM, EMPTIED_STREAM)
MESSAGE = "message/"
MOST_AT_ONCE = 20
TIMEOUT_SECONDS = 3.0
PAUSE_SECONDS = 0.1


@dataclass
class Connected:
    """A client of a key's primary, found again after every failure. Bounded by the client's own timeouts."""

    scenario: Scenario
    key: str
    _client: redis.asyncio.Redis | None = None

    async def do(self, command: Callable[[redis.asyncio.Redis], Awaitable[None]]) -> bool:
        """Whether the command was confirmed. If not it may have been done, or not."""
        try:
            if self._client is None:
                self._client = client(await self.scenario.port_of(self.key), TIMEOUT_SECONDS)
            await command(self._client)
        except (RedisError, OSError, TypeError) as error:
            # asyncio of Python 3.13 says this when it writes to a connection that is lost
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


@dataclass
class Producer:
    """Adds entries to one list or stream until `wanted` are confirmed, `per_second` of them."""

    scenario: Scenario
    key: str
    wanted: int
    per_second: float
    rng: random.Random
    confirmed: list[str] = field(default_factory=list)
    unconfirmed: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Produce in batches of changing size. What was not confirmed is never sent again: the next ones are new."""
        began = time.monotonic()
        connected = Connected(self.scenario, self.key)
        while len(self.confirmed) < self.wanted:
            number = min(self.rng.randint(1, MOST_AT_ONCE), self.wanted - len(self.confirmed))
            first = len(self.confirmed) + len(self.unconfirmed)
            batch = [f"{self.key}/{first + at}" for at in range(number)]
            if await connected.do(lambda redis, batch=batch: self._add(redis, batch)):  # type: ignore[misc]
                self.confirmed += batch
                ahead = began + len(self.confirmed) / self.per_second - time.monotonic()
                await asyncio.sleep(max(0.0, ahead))
            else:
                self.unconfirmed += batch
                await asyncio.sleep(PAUSE_SECONDS)
        await connected.close()

    async def _add(self, redis: redis.asyncio.Redis, batch: list[str]) -> None:
        """Add the batch; with replicas, raise RedisError unless enough of them have it."""
        async with redis.pipeline(transaction=False) as pipeline:
            if self.key in LISTS:
                pipeline.rpush(self.key, *batch)
            else:
                for payload in batch:
                    pipeline.xadd(self.key, {"payload": payload})
            if self.scenario.replicas:
                pipeline.wait(self.scenario.replicas, int(TIMEOUT_SECONDS * 1000) // 2)
            answers = await pipeline.execute()
        if self.scenario.replicas and answers[-1] < self.scenario.replicas:
            raise RedisError("too few replicas have it")


@dataclass(frozen=True)
class Publication:
    """One message that the server confirmed. `receivers`: how many subscribers it was sent to."""

    payload: str
    at_ns: int
    receivers: int


@dataclass
class Publisher:
    """Publishes messages, `per_second`, until it is told to stop."""

    scenario: Scenario
    per_second: float
    confirmed: list[Publication] = field(default_factory=list)
    unconfirmed: int = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Publish at a steady pace; a message is not sent again."""
        connected = Connected(self.scenario, CHANNEL)
        while not stop.is_set():
            at_ns = time.monotonic_ns()
            payload = f"{MESSAGE}{len(self.confirmed) + self.unconfirmed}"
            if not await connected.do(lambda redis, payload=payload, at=at_ns: self._publish(redis, payload, at)):  # type: ignore[misc]
                self.unconfirmed += 1
            elif not self.confirmed[-1].receivers:
                # A primary that was demoted takes messages all the same, and no subscriber of its primary gets them.
                await connected.close()
            await asyncio.sleep(max(0.0, 1 / self.per_second - (time.monotonic_ns() - at_ns) / 1e9))
        await connected.close()

    async def _publish(self, redis: redis.asyncio.Redis, payload: str, at_ns: int) -> None:
        receivers = await redis.publish(CHANNEL, payload)
        self.confirmed.append(Publication(payload, at_ns, receivers))


def producers(scenario: Scenario, entries: int, seconds: float, seed: int) -> list[Producer]:
    """One for each list and stream; together they add `entries` within about so many seconds."""
    each = entries // len(KEYS)
    return [Producer(scenario, key, each, each / seconds, random.Random(f"{seed} {key}")) for key in KEYS]
