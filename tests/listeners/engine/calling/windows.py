"""Functions that wait for a fuller batch, and what they were called with."""

import time
from collections.abc import Callable
from typing import Any

import redis.asyncio

from tests.support.trigger_kinds import Kind, add, payload_of, unfinished
from tests.support.waiting import eventually
from triggerfish import RedisMessage

__all__ = ["NEVER_MS", "SHORT_MS", "Calls", "add_one_by_one", "taken"]

#: Longer than any test: what happens within such a window does not wait for its end.
NEVER_MS = 300_000
SHORT_MS = 300


class Calls:
    """Records the calls of a batch function: the payloads of each, and when it began."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.began_at: list[float] = []
        self.deliveries: list[int] = []

    def add(self, messages: list[RedisMessage]) -> list[str]:
        self.batches.append([payload_of(message) for message in messages])
        self.began_at.append(time.monotonic())
        self.deliveries += [message.deliveries for message in messages]
        return self.batches[-1]

    def function(self, *, is_async: bool = True) -> Callable[..., Any]:
        async def on_batch(messages: list[RedisMessage]) -> None:
            self.add(messages)

        def on_batch_in_thread(messages: list[RedisMessage]) -> None:
            self.add(messages)

        return on_batch if is_async else on_batch_in_thread


async def taken(client: redis.asyncio.Redis, kind: Kind, number: int) -> None:
    """Wait until as many entries are leased or pending."""

    async def are_taken() -> bool:
        return await unfinished(client, kind) == number

    await eventually(are_taken)


async def add_one_by_one(client: redis.asyncio.Redis, kind: Kind, *payloads: str, beside: int = 0) -> None:
    """Add entries, each once the one before it is taken."""
    for number, payload in enumerate(payloads, 1):
        await add(client, kind, payload)
        await taken(client, kind, beside + number)
