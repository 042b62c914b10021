"""Streams with large or many entries, refused settlements, a restricted user, and in a cluster."""

from types import SimpleNamespace

import pytest
import redis.asyncio

from listeners.dead_letters.letters import DeadLetter
from listeners.engine.settlement import Outcome
from listeners.errors import WrongTypeError
from listeners.functions.triggers import StreamTrigger
from listeners.keys import dead_letters_key
from listeners.redis.acl import CONNECTION
from listeners.redis.client import Client
from listeners.streams.permissions import stream_commands
from tests.listeners.streams.sources import (
    GROUP,
    KEY,
    MAX_BYTES,
    add,
    dead_letters,
    lapse,
    maintained,
    opened,
    recorded,
    settle,
    settlement,
    take,
    take_suspect,
)
from tests.servers.catalogue import RELEASES, REPRESENTATIVE
from tests.servers.cluster import Cluster
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases(*REPRESENTATIVE)


@pytest.mark.parametrize("number", [20_000, 100_000])
async def test_entries_with_many_fields(server: Server, client: redis.asyncio.Redis, ours: Client, number: int) -> None:
    """An entry of any width is retried and dead-lettered whole, and holds up no other."""
    fields = [part for at in range(number) for part in (b"name%d" % at, b"\xff%d" % at)]
    async with opened(server) as source:
        await client.execute_command("XADD", KEY, "*", *fields)
        await add(client, "small")
        wide, small = await take(source, 2)
        await settle(source, Outcome.RETRIED, wide)
        (wide,) = await take(source)
        assert (wide.flat_fields, wide.deliveries) == (fields, 2)
        assert await source.begin(wide, counts=True)
        refusals = await source.settle([settlement(wide, Outcome.DEAD_LETTERED), settlement(small, Outcome.SUCCEEDED)])
        assert refusals == []
        assert await recorded(client) == []
    dead = dead_letters_key(KEY)
    ((letter_id, flat),) = await ours.command(dead, "XRANGE", dead, "-", "+", doing="reading dead letters")
    letter = DeadLetter.of(KEY, letter_id.decode(), flat)
    assert list(letter.entry.flat_fields or ()) == fields
    assert letter.entry.deliveries == 2


async def test_many_entries_in_one_step(server: Server, client: redis.asyncio.Redis) -> None:
    """Thousands of entries are renewed, retried and released together."""
    async with opened(server) as source:
        await add(client, *map(str, range(3000)))
        entries = await take(source, 3000)
        renewal = source.renewal()
        await renewal.renew(entries)
        assert all(map(source.may_start, entries))
        await settle(source, Outcome.RETRIED, *entries[:1500], delay_ms=600_000)
        await source.release(entries[1500:])
        states = await recorded(client)
        assert {consumer for _, consumer, _ in states} == {"triggerfish-a:waiting"}
        assert [count for _, _, count in states] == [2] * 1500 + [1] * 1500


async def test_a_refused_settlement(server: Server, client: redis.asyncio.Redis) -> None:
    """A settlement that Redis refuses is returned with its error; the others are settled, and it can be repeated."""
    async with opened(server) as source:
        await add(client, "1", "2", "3")
        await client.set(dead_letters_key(KEY), "no stream")
        failed, succeeded, retried = await take(source, 3)
        refusals = await source.settle(
            [
                settlement(failed, Outcome.DEAD_LETTERED),
                settlement(succeeded, Outcome.SUCCEEDED),
                settlement(retried, Outcome.RETRIED, delay_ms=600_000),
            ]
        )
        assert [refusal.settlement.entry for refusal in refusals] == [failed]
        assert isinstance(refusals[0].error, WrongTypeError)
        assert await recorded(client) == [(failed.id, "triggerfish-a", 1), (retried.id, "triggerfish-a:waiting", 2)]
        await client.delete(dead_letters_key(KEY))
        await settle(source, Outcome.DEAD_LETTERED, failed)
        assert [letter[b"field:payload"] for letter in await dead_letters(client)] == [b"1"]


async def test_a_refusal_of_one_stream(server: Server, client: redis.asyncio.Redis) -> None:
    """A key that has become another type refuses its own settlements only."""
    async with opened(server, keys=("one", "two")) as source:
        await add(client, "1", key="one")
        await add(client, "2", key="two")
        entries = {entry.key: entry for entry in await take(source, 2)}
        await client.delete("one")
        await client.set("one", "no stream")
        refusals = await source.settle([settlement(entry, Outcome.SUCCEEDED) for entry in entries.values()])
        assert [refusal.settlement.entry.key for refusal in refusals] == ["one"]
        assert await recorded(client, key="two") == []
        await client.delete("one")


async def test_several_streams(server: Server, client: redis.asyncio.Redis) -> None:
    """Retries, releases and suspects of several streams do not mix, even with the same IDs."""
    keys = ("one", "two")
    async with opened(server, keys=keys) as source, opened(server, "b", keys=keys) as other:
        for key in keys:
            await client.xadd(key, {"payload": key}, id="5-1")
        entries = {entry.key: entry for entry in await take(source, 2)}
        await settle(source, Outcome.RETRIED, entries["one"], delay_ms=1)
        await lapse(client, "5-1", key="two")
        async with maintained(other):
            suspect = await take_suspect(other)
        assert (suspect.key, suspect.deliveries) == ("two", 1)
        (retried,) = await take(source)
        assert (retried.key, retried.deliveries) == ("one", 2)
        assert await recorded(client, key="one") == [("5-1", "triggerfish-a", 2)]
        assert await recorded(client, key="two") == [("5-1", "triggerfish-b", 1)]


@pytest.mark.releases("redis-6.0", "redis-7.0", "redis-8.2", "valkey-9.1")
async def test_the_listed_permissions_suffice(server: Server, client: redis.asyncio.Redis) -> None:
    """A user who may run only the listed commands can do everything that a source does."""
    trigger = StreamTrigger(keys=(KEY,), consumer_group=GROUP, delete_after_process=True)
    commands = {command[0].lower() for command in (*CONNECTION, *stream_commands(trigger, KEY))}
    rules = [*(f"+{command}" for command in commands), f"~{KEY}", f"~{dead_letters_key(KEY)}"]
    await client.execute_command("ACL", "SETUSER", "limited", "reset", "on", ">secret", *rules)
    limited = SimpleNamespace(address=f"{server.address},user=limited,password=secret")
    async with opened(limited, delete_after_process=True) as source:
        _, lapsed, *_ = await add(client, *map(str, range(6)))
        failed, abandoned, retried, released, *succeeded = await take(source, 6)
        renewal = source.renewal()
        await renewal.renew([failed, retried])
        assert source.may_start(failed)
        await settle(source, Outcome.DEAD_LETTERED, failed)
        await settle(source, Outcome.LAPSED, abandoned)
        await source.release([released])
        await settle(source, Outcome.RETRIED, retried)
        assert await source.settle_and_take(succeeded[:1], 1, MAX_BYTES) == []
        await settle(source, Outcome.SUCCEEDED, succeeded[1])
        await lapse(client, lapsed)
        await client.xdel(KEY, released.id or "")
        async with maintained(source):
            suspect = await take_suspect(source)
            assert await source.begin(suspect, counts=True)
            suspect.lease_ends_at = 0.0  # acknowledged with a check
            await settle(source, Outcome.SUCCEEDED, suspect, *await take(source))

            async def nothing_is_pending() -> bool:
                return await source.take(1, MAX_BYTES) == [] and await recorded(client) == []

            await eventually(nothing_is_pending)
    await client.execute_command("ACL", "DELUSER", "limited")


async def test_a_cluster() -> None:
    """Streams in different slots are taken, retried, released and handed out as suspects."""
    keys = ("one", "two", "three")
    with Cluster(RELEASES["valkey-9.1"]) as cluster, cluster.client() as client:
        async with opened(cluster, keys=keys) as source, opened(cluster, "b", keys=keys) as other:
            for key in keys:
                client.xadd(key, {"payload": key})
            entries = {entry.key: entry for entry in await take(source, 3)}
            renewal = source.renewal()
            await renewal.renew(list(entries.values()))
            assert all(map(source.may_start, entries.values()))
            await source.release([entries["three"]])
            await settle(source, Outcome.RETRIED, entries["one"])
            await settle(source, Outcome.DEAD_LETTERED, entries["two"])
            async with maintained(other):
                (released,) = await take(other)
            assert (released.key, released.deliveries) == ("three", 1)
            retried = await eventually(lambda: source.take(1, MAX_BYTES))
            assert [(entry.key, entry.deliveries) for entry in retried] == [("one", 2)]
            client.execute_command("XCLAIM", "one", GROUP, "triggerfish-dead:alone", 0, retried[0].id, "IDLE", 10**7)
            async with maintained(other):
                suspect = await take_suspect(other)
            assert (suspect.key, suspect.died_alone) == ("one", True)
            assert await other.begin(suspect, counts=True)
            assert client.xlen(dead_letters_key("two")) == 1
