"""Adds entries, and records which of them the server confirmed."""

import asyncio
import random
import time
from dataclasses import dataclass, field

import redis.asyncio
from redis.exceptions import RedisError

from tests.chaos.hosts.keys import KEYS, LISTS
from tests.chaos.producers.primary_client import TIMEOUT_SECONDS, PrimaryClient
from tests.chaos.scenarios.scenario import Scenario

__all__ = ["Producer", "producers"]

MAX_BATCH = 20
PAUSE_SECONDS = 0.1


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
    #: Those of the unconfirmed that the primary has confirmed, but not enough replicas.
    not_replicated: list[str] = field(default_factory=list)

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
            self.not_replicated += batch
            raise RedisError("too few replicas have it")


def producers(scenario: Scenario, entries: int, seconds: float, seed: int) -> list[Producer]:
    """Return one producer per list and stream; together they add `entries` within about `seconds`."""
    each = entries // len(KEYS)
    return [Producer(scenario, key, each, each / seconds, random.Random(f"{seed} {key}")) for key in KEYS]
