"""Settlements that Redis refuses: each is reported, the others are settled, and nothing is lost."""

import contextlib

import pytest
import redis.asyncio

from listeners.errors import AccessDeniedError, SourceUnavailableError, WrongTypeError
from listeners.keys import dead_letters_key
from listeners.lists.permissions import at_least_once_commands
from tests.listeners.lists.conftest import OpenSource
from tests.listeners.lists.sources import (
    KEY,
    dead,
    dead_letters,
    end_leases,
    in_flight,
    payloads,
    records,
    retried,
    succeeded,
    suspect,
    take,
)
from tests.servers.catalogue import RELEASES, REPRESENTATIVE, REPRESENTATIVE_WITH_ACL

pytestmark = pytest.mark.releases(*REPRESENTATIVE)

WITH_ACL = pytest.mark.releases(*REPRESENTATIVE_WITH_ACL)


@pytest.mark.parametrize("delivery", ["at-least-once", "at-most-once"])
async def test_dead_letters_of_the_wrong_type(
    client: redis.asyncio.Redis, open_source: OpenSource, delivery: str
) -> None:
    """A dead letter that Redis refuses is returned with its error; it can be passed again, and others are settled."""
    source = await open_source(delivery=delivery)
    await client.set(dead_letters_key(KEY), "x")
    await client.rpush(KEY, "a", "b", "c")
    entries = [entry for _ in range(3) for entry in await take(source, 1)]
    first, second, third = entries
    refusals = await source.settle([dead(first), succeeded(second), retried(third, 60_000)])
    assert [refusal.settlement.entry for refusal in refusals] == [first]
    assert isinstance(refusals[0].error, WrongTypeError)
    if delivery == "at-least-once":
        assert await records(client) == [b"1:a", b"1:c"]
        assert {member.split(b":")[1] for member in await in_flight(client)} == {b"t0", b"w1"}
    await client.delete(dead_letters_key(KEY))
    assert await source.settle([refusals[0].settlement]) == []
    assert [letter[b"payload"] for letter in await dead_letters(client)] == [b"a"]


async def test_several_lists(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """What is refused in one list does not hold up another."""
    source = await open_source(keys="a b")
    await client.set(dead_letters_key("a"), "x")
    for key in "ab":
        await client.rpush(key, key)
    entries = {entry.key: entry for entry in await take(source)}
    refusals = await source.settle([dead(entries["a"]), dead(entries["b"])])
    assert [refusal.settlement.entry.key for refusal in refusals] == ["a"]
    assert len(await dead_letters(client, "b")) == 1


async def test_no_memory_left(client: redis.asyncio.Redis, open_source: OpenSource) -> None:
    """Without memory nothing new is taken and the list is unchanged, but what was taken is settled."""
    source = await open_source()
    await client.rpush(KEY, "a", "b", "c", "d", "new")
    first, second, third, fourth = await take(source, 4)
    await client.config_set("maxmemory", 1)
    try:
        with pytest.raises(SourceUnavailableError, match="maxmemory"):
            await take(source)
        assert await client.lrange(KEY, 0, -1) == [b"new"]
        assert len(await records(client)) == 4
        assert await source.settle([dead(first), retried(second, 60_000), succeeded(third)]) == []
        await source.release([fourth])
        assert await records(client) == [b"1:b", b"1:d"]
        assert payloads(await take(source, 1)) == [b"d"]
    finally:
        await client.config_set("maxmemory", 0)
    assert [letter[b"payload"] for letter in await dead_letters(client)] == [b"a"]
    assert payloads(await take(source)) == [b"new"]


@pytest.fixture
async def limited(client: redis.asyncio.Redis) -> str:
    """The login of a user who may do everything, until a test denies something."""
    await client.execute_command("ACL", "SETUSER", "limited", "reset", "on", ">hidden", "~*", "+@all")
    return ",user=limited,password=hidden"


async def deny(client: redis.asyncio.Redis, command: str) -> None:
    """Deny one command to the limited user, and allow all others."""
    await client.execute_command("ACL", "SETUSER", "limited", "+@all", f"-{command}")


@pytest.mark.releases(*(name for name in RELEASES if name != "redis-5.0"))
async def test_the_permissions_suffice(client: redis.asyncio.Redis, open_source: OpenSource, limited: str) -> None:
    """A user with the commands of permissions.py and no others can do everything with a list."""
    samples = [("INFO",), ("PING",), ("CLIENT",), *at_least_once_commands(KEY)]
    allowed = {f"+{sample[0].lower()}" for sample in samples}
    await client.execute_command("ACL", "SETUSER", "limited", "-@all", *sorted(allowed))
    source = await open_source(login=limited, lease_seconds=0.1)
    await client.rpush(KEY, "a", "b", "c", "d")
    first, second, third, _ = await take(source)
    renewal = source.renewal()
    await renewal.renew([first])
    assert await source.settle([succeeded(first), retried(second), dead(third)]) == []
    await source.maintain()
    (again,) = await take(source)
    await source.release([again])
    await source.take(1, 100)
    entry = await suspect(source)
    assert await source.begin(entry, counts=True)


@WITH_ACL
@pytest.mark.parametrize(
    "command", ["time", "zrange", "zrangebyscore", "zadd", "zrem", "hset", "hmget", "hdel", "lrange", "ltrim"]
)
async def test_taking_with_a_command_denied(
    client: redis.asyncio.Redis, open_source: OpenSource, limited: str, command: str
) -> None:
    """Without one of the commands, elements are taken whole or not at all: none is lost, none is there twice."""
    source, free = await open_source(login=limited), await open_source()
    await client.rpush(KEY, "suspect")
    await take(free)
    await end_leases(client)
    assert await take(free) == []
    await client.rpush(KEY, "waiting")
    await free.settle([retried(entry) for entry in await take(free)])
    await client.rpush(KEY, "new")
    await deny(client, command)
    taken: list[bytes] = []
    for _ in range(2):
        with contextlib.suppress(AccessDeniedError):
            taken += payloads(await take(source, 1))
    with contextlib.suppress(AccessDeniedError):
        await source.take_suspect()
    assert len(set(taken)) == len(taken)
    await client.execute_command("ACL", "SETUSER", "limited", "+@all")
    assert len(await records(client)) - (await client.zcard("triggerfish:{q}:inflight")) == 0
    everything = [*(record[2:] for record in await records(client)), *await client.lrange(KEY, 0, -1)]
    assert sorted(everything) == [b"new", b"suspect", b"waiting"]


@WITH_ACL
@pytest.mark.parametrize("command", ["zadd", "zrem", "hdel", "hmget", "zscore", "xadd", "xtrim"])
async def test_settling_with_a_command_denied(
    client: redis.asyncio.Redis, open_source: OpenSource, limited: str, command: str
) -> None:
    """Without one of the commands, what cannot be settled is reported, and settled once the command is allowed."""
    source = await open_source(login=limited)
    await client.rpush(KEY, "a", "b", "c")
    first, second, third = await take(source)
    settlements = [succeeded(first), retried(second, 60_000), dead(third)]
    await deny(client, command)
    refusals = await source.settle(settlements)
    assert refusals
    assert all(isinstance(refusal.error, AccessDeniedError) for refusal in refusals)
    await client.execute_command("ACL", "SETUSER", "limited", "+@all")
    assert await source.settle([refusal.settlement for refusal in refusals]) == []
    assert await records(client) == [b"1:b"]
    assert [member.split(b":")[1] for member in await in_flight(client)] == [b"w1"]
    assert b"c" in {letter[b"payload"] for letter in await dead_letters(client)}
