"""Helpers for tests of behaviour that list and stream triggers share."""

from collections.abc import Callable
from typing import Any, Literal

import pytest
import redis.asyncio

from listeners.functions.triggers import DEFAULT_CONSUMER_GROUP
from listeners.keys import dead_letters_key, inflight_key
from triggerfish import App, RedisMessage

Kind = Literal["list", "stream"]

KEY = "work"
GROUP = DEFAULT_CONSUMER_GROUP

KINDS: tuple[Kind, ...] = ("list", "stream")
both_kinds = pytest.mark.parametrize("kind", KINDS)


def trigger(app: App, kind: Kind, *, keys: str = KEY, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return the decorator for a trigger of this kind; a stream's polling interval is short, so it drains quickly."""
    if kind == "list":
        return app.list_trigger(keys=keys, **options)
    return app.stream_trigger(keys=keys, polling_interval_ms=20, **options)


async def add(client: redis.asyncio.Redis, kind: Kind, *payloads: str, key: str = KEY) -> None:
    """Add payloads as list elements, or as stream entries with one field each."""
    async with client.pipeline(transaction=True) as pipeline:
        for payload in payloads:
            if kind == "list":
                pipeline.rpush(key, payload)
            else:
                pipeline.xadd(key, {"payload": payload})
        await pipeline.execute()


def payload_of(message: RedisMessage) -> str:
    """Return the payload that `add` added."""
    return next(iter(message.fields.values())) if message.fields else message.message


async def unfinished(client: redis.asyncio.Redis, kind: Kind, *, key: str = KEY) -> int:
    """Return how many entries are in flight (list) or pending in the group (stream)."""
    if kind == "list":
        return int(await client.zcard(inflight_key(key)))
    return int((await client.xpending(key, GROUP))["pending"])


async def dead_letters(client: redis.asyncio.Redis, *, key: str = KEY) -> list[dict[bytes, bytes]]:
    """Return the fields of the dead letters, oldest first."""
    return [fields for _, fields in await client.execute_command("XRANGE", dead_letters_key(key), "-", "+")]


async def settled(client: redis.asyncio.Redis, kind: Kind, *, key: str = KEY) -> bool:
    """Return whether nothing is in flight."""
    return await unfinished(client, kind, key=key) == 0


async def recorded(client: redis.asyncio.Redis, key: str) -> list[str]:
    """Return the recorder app's records, as "instance payload deliveries"."""
    return [line.decode() for line in await client.execute_command("LRANGE", key, 0, -1)]


async def reached(client: redis.asyncio.Redis, key: str, number: int) -> bool:
    """Return whether a list has at least `number` elements."""
    return bool(await client.llen(key) >= number)
