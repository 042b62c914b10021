"""Publishes messages, and records which of them the server confirmed."""

import asyncio
import time
from dataclasses import dataclass, field

import redis.asyncio

from tests.chaos.hosts.keys import CHANNEL
from tests.chaos.producers.primary_client import PrimaryClient
from tests.chaos.scenarios.scenario import Scenario

__all__ = ["MESSAGE", "Publication", "Publisher"]

#: How the payload of each message begins.
MESSAGE = "message/"


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
