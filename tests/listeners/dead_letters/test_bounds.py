"""add.lua: the bounds of a key's dead letters, on every server release."""

import pytest
import redis.asyncio

from listeners.functions.entries import Entry
from listeners.keys import dead_letters_key
from listeners.redis.scripts import load_script
from tests.support.letters import letter_fields
from triggerfish.testing.server import Server

DEAD = dead_letters_key("work")
ADD = load_script("listeners.dead_letters", "add").source + "\nreturn add_dead_letter(KEYS[1], ARGV)"
MAX_LETTERS, MAX_BYTES = 10_000, 268_435_456


def bounded(letters: int = MAX_LETTERS, size: int = MAX_BYTES) -> str:
    """Return the script with other bounds: filling the real ones takes long."""
    bounds = "max_dead_letters, max_dead_letter_bytes = {}, {}"
    real = bounds.format(MAX_LETTERS, MAX_BYTES)
    assert ADD.count(real) == 1
    return ADD.replace(real, bounds.format(letters, size))


async def add(client: redis.asyncio.Redis, script: str, payload: bytes) -> int:
    """Add the dead letter of a payload. Returns how many were dropped."""
    return int(await client.eval(script, 1, DEAD, *letter_fields(Entry("work", payload=payload))))


async def payloads(client: redis.asyncio.Redis) -> list[bytes]:
    """Return the payloads of the dead letters, oldest first."""
    return [fields[b"payload"] for _, fields in await client.execute_command("XRANGE", DEAD, "-", "+")]


async def test_the_number_is_bounded(client: redis.asyncio.Redis) -> None:
    """The oldest are dropped, one for each that is added, and each is counted."""
    script = bounded(letters=150)
    dropped = [await add(client, script, b"%d" % number) for number in range(400)]
    assert dropped == [0] * 150 + [1] * 250
    assert await payloads(client) == [b"%d" % number for number in range(250, 400)]


async def test_the_bytes_are_bounded(client: redis.asyncio.Redis) -> None:
    """Big dead letters drop the oldest until all fit, and small ones too; what is dropped is counted."""
    script = bounded(size=20_000_000)
    dropped = 0
    for number in range(30):
        dropped += await add(client, script, b"%d " % number + b"p" * 1_500_000)
        assert (await client.memory_usage(DEAD, samples=0) or 0) <= 20_000_000
    kept = [int(payload.split()[0]) for payload in await payloads(client)]
    assert kept == list(range(dropped, 30))
    assert 10 <= len(kept) <= 13


async def test_small_letters_are_bounded_in_bytes(client: redis.asyncio.Redis) -> None:
    """The bytes are measured now and then, so small letters exceed the bound by a few of them only."""
    script = bounded(size=1_000_000)
    dropped = sum([await add(client, script, b"p" * 10_000) for _ in range(500)])
    kept = await client.xlen(DEAD)
    assert kept + dropped == 500
    assert 60 <= kept <= 400


async def test_a_letter_beyond_the_bound_is_kept(client: redis.asyncio.Redis) -> None:
    """The new dead letter is never dropped, even if it is bigger than all may be."""
    script = bounded(size=1_000_000)
    assert await add(client, script, b"small") == 0
    assert await add(client, script, b"p" * 3_000_000) == 1
    assert await add(client, script, b"q" * 3_000_000) == 1
    assert await payloads(client) == [b"q" * 3_000_000]


@pytest.mark.releases("redis-6.2", "redis-7.0", "valkey-9.1")
async def test_a_user_without_memory_usage_has_the_other_bound(server: Server, client: redis.asyncio.Redis) -> None:
    """A user who may not measure keys adds dead letters, whose number is bounded."""
    await client.execute_command("ACL", "SETUSER", "limited", "on", ">pw", "~*", "+@all", "-memory")
    limited = redis.asyncio.Redis(port=server.port, protocol=2, username="limited", password="pw")
    try:
        for _ in range(4):
            await add(limited, bounded(letters=3, size=1_000_000), b"p" * 1_500_000)
        assert await client.xlen(DEAD) == 3
    finally:
        await limited.aclose()
        await client.execute_command("ACL", "DELUSER", "limited")
