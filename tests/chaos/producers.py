"""Adds entries and publishes messages, and records which of them the server confirmed."""

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
MAX_BATCH = 20
TIMEOUT_SECONDS = 3.0
PAUSE_SECONDS = 0.1


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
        """Produce in batches of random size. An unconfirmed entry is never sent again; the next entries are new."""
        began = time.monotonic()
        primary = PrimaryClient(self.scenario, self.key)
        while len(self.confirmed) < self.wanted:
            number = min(self.rng.randint(1, MAX_BATCH), self.wanted - len(self.confirmed))
            first = len(self.confirmed) + len(self.unconfirmed)
            batch = [f"{self.key}/{first + at}" for at in range(number)]
            if await primary.execute(lambda redis, batch=batch: self._add(redis, batch)):  # type: ignore[misc]
                self.confirmed += batch
                ahead = began + len(self.confirmed) / self.per_second - time.monotonic()
                await asyncio.sleep(max(0.0, ahead))
            else:
                self.unconfirmed += batch
                await asyncio.sleep(PAUSE_SECONDS)
        await primary.close()

    async def _add(self, redis: redis.asyncio.Redis, batch: list[str]) -> None:
        """Add a batch. Raise RedisError if fewer replicas than required have it."""
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
    """A message that the server confirmed, and the number of subscribers that it was sent to."""

    payload: str
    at_ns: int
    receivers: int


@dataclass
class Publisher:
    """Publishes `per_second` messages per second until it is stopped."""

    scenario: Scenario
    per_second: float
    confirmed: list[Publication] = field(default_factory=list)
    unconfirmed: int = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Publish at a steady pace until `stop` is set. An unconfirmed message is not sent again."""
        primary = PrimaryClient(self.scenario, CHANNEL)
        while not stop.is_set():
            at_ns = time.monotonic_ns()
            payload = f"{MESSAGE}{len(self.confirmed) + self.unconfirmed}"
            if not await primary.execute(lambda redis, payload=payload, at=at_ns: self._publish(redis, payload, at)):  # type: ignore[misc]
                self.unconfirmed += 1
            elif not self.confirmed[-1].receivers:
                # A demoted primary still accepts messages, but subscribers of the new primary do not get them.
                await primary.close()
            await asyncio.sleep(max(0.0, 1 / self.per_second - (time.monotonic_ns() - at_ns) / 1e9))
        await primary.close()

    async def _publish(self, redis: redis.asyncio.Redis, payload: str, at_ns: int) -> None:
        receivers = await redis.publish(CHANNEL, payload)
        self.confirmed.append(Publication(payload, at_ns, receivers))


def producers(scenario: Scenario, entries: int, seconds: float, seed: int) -> list[Producer]:
    """Return one producer per list and stream; together they add `entries` within about `seconds`."""
    each = entries // len(KEYS)
    return [Producer(scenario, key, each, each / seconds, random.Random(f"{seed} {key}")) for key in KEYS]
