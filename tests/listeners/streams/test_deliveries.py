"""What Redis records about an entry of a stream, from taking to settling."""

import asyncio
import threading

import pytest
import redis.asyncio

from listeners.engine.settlement import Outcome
from listeners.streams.leases import StreamLeases
from listeners.streams.source import StreamSource
from tests.listeners.streams.sources import (
    GROUP,
    KEY,
    add,
    claim,
    dead_letters,
    idle_ms,
    lapse,
    maintained,
    metrics,
    opened,
    recorded,
    settle,
    take,
    take_suspect,
)
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

TAKEN, ALONE, WAITING = "triggerfish-a", "triggerfish-a:alone", "triggerfish-a:waiting"


async def test_taking_counts_nothing(server: Server, client: redis.asyncio.Redis) -> None:
    """An entry that was taken and released is delivered again as if nothing had happened, to any instance at once."""
    async with opened(server) as source, opened(server, "b") as other:
        (entry_id,) = await add(client, "1")
        (entry,) = await take(source)
        assert (entry.deliveries, entry.flat_fields) == (1, [b"payload", b"1"])
        assert await recorded(client) == [(entry_id, TAKEN, 1)]
        await source.release([entry])
        assert await recorded(client) == [(entry_id, WAITING, 1)]
        async with maintained(other):
            (again,) = await take(other)
        assert (again.id, again.deliveries, again.suspect) == (entry_id, 1, False)
        assert await recorded(client) == [(entry_id, "triggerfish-b", 1)]


async def test_a_failed_call_counts(server: Server, client: redis.asyncio.Redis) -> None:
    """A retry is recorded at once, waits with the instance, and comes back with one delivery more."""
    async with opened(server) as source:
        (entry_id,) = await add(client, "1")
        for count in (1, 2, 3):
            (entry,) = await take(source)
            assert entry.deliveries == count
            await settle(source, Outcome.RETRIED, entry)
            assert await recorded(client) == [(entry_id, WAITING, count + 1)]
        (entry,) = await take(source)
        assert (entry.deliveries, entry.flat_fields) == (4, [b"payload", b"1"])
        assert await recorded(client) == [(entry_id, TAKEN, 4)]
        await settle(source, Outcome.SUCCEEDED, entry)
        assert await recorded(client) == []


async def test_a_retry_waits(server: Server, client: redis.asyncio.Redis) -> None:
    """A retry is not taken before it is due; other entries are. A drain gives it to others at once, with its count."""
    async with opened(server) as source, opened(server, "b") as other:
        await add(client, "1", "2")
        (first,) = await take(source)
        await settle(source, Outcome.RETRIED, first, delay_ms=600_000)
        async with maintained(source, other):
            (second,) = await take(source)
            assert second.id != first.id
            await settle(source, Outcome.SUCCEEDED, second)
            await source.release([])
            (again,) = await take(other)
        assert (again.id, again.deliveries, again.suspect) == (first.id, 2, False)


async def test_a_settlement_that_is_repeated(server: Server, client: redis.asyncio.Redis) -> None:
    """Settling again has no effect, although the same instance has taken the entry again."""
    async with opened(server) as source:
        (entry_id,) = await add(client, "1")
        (first,) = await take(source)
        await settle(source, Outcome.RETRIED, first)
        (second,) = await take(source)
        for outcome in (Outcome.RETRIED, Outcome.SUCCEEDED, Outcome.DEAD_LETTERED):
            await settle(source, outcome, first)
        await source.release([first])
        assert await source.settle_and_take([first], 1, 1) == []
        assert await recorded(client) == [(entry_id, TAKEN, 2)]
        await settle(source, Outcome.SUCCEEDED, second)


async def test_a_dead_letter(server: Server, client: redis.asyncio.Redis) -> None:
    """A dead letter has the entry's fields and the reason; the entry is no longer pending."""
    async with opened(server, delete_after_process=True) as source:
        await add(client, "1")
        (entry,) = await take(source)
        await settle(source, Outcome.DEAD_LETTERED, entry)
        assert await recorded(client) == []
        assert await client.xlen(KEY) == 0
    (letter,) = await dead_letters(client)
    assert (letter[b"field:payload"], letter[b"error"], letter[b"function"]) == (b"1", b"ValueError: bad", b"function")


async def test_an_entry_of_another_program(server: Server, client: redis.asyncio.Redis) -> None:
    """An entry that a program of the user's left behind is taken with others, and its count starts again."""
    async with opened(server) as source:
        (entry_id,) = await add(client, "1")
        await client.execute_command("XREADGROUP", "GROUP", GROUP, "theirs", "STREAMS", KEY, ">")
        await claim(client, "theirs", entry_id, "RETRYCOUNT", 7)
        await lapse(client, entry_id)
        async with maintained(source):
            (entry,) = await take(source)
        assert (entry.id, entry.deliveries, entry.suspect) == (entry_id, 1, False)
        assert await recorded(client) == [(entry_id, TAKEN, 1)]


async def test_a_former_holder_changes_nothing(server: Server, client: redis.asyncio.Redis) -> None:
    """After another instance has taken an entry, its former holder cannot settle, release, begin or renew it."""
    async with opened(server, delete_after_process=True) as former, opened(server, "b") as holder:
        ids = await add(client, *map(str, range(5)))
        entries = await take(former, 5)
        renewal = former.renewal()
        for entry_id in ids:
            await lapse(client, entry_id)
        async with maintained(holder):
            for _ in ids:
                await take_suspect(holder)
        state = await recorded(client)
        assert {consumer for _, consumer, _ in state} == {"triggerfish-b"}
        await renewal.renew(entries)
        assert [entry.lease_ends_at for entry in entries] == [0.0] * 5
        assert not former.may_start(entries[0])
        await settle(former, Outcome.SUCCEEDED, entries[0])
        await settle(former, Outcome.RETRIED, entries[1])
        await settle(former, Outcome.DEAD_LETTERED, entries[2])
        await former.release([entries[3]])
        assert not await former.begin(entries[4], counts=True)
        assert await recorded(client) == state
        assert await client.xlen(KEY) == 5
        assert await dead_letters(client) == []


def renew_on_a_thread(source: StreamSource) -> None:
    """Renew what the source keeps while its event loop is blocked."""

    async def renew() -> None:
        renewal = source.renewal()
        assert isinstance(renewal, StreamLeases)
        await renewal.renew([])
        await renewal.client.aclose()

    thread = threading.Thread(target=lambda: asyncio.run(renew()))
    thread.start()
    thread.join()


async def test_renewal(server: Server, client: redis.asyncio.Redis) -> None:
    """A renewal resets the idle time of taken and begun entries, and of none that wait or were released."""
    async with opened(server) as source:
        ids = await add(client, "1", "2", "3")
        begun, taken, released = await take(source, 3)
        assert await source.begin(begun, counts=True)
        renewal = source.renewal()
        await source.release([released])
        for entry_id in ids:
            await lapse(client, entry_id)
        for entry in (begun, taken, released):
            entry.lease_ends_at = 0.0
        await renewal.renew([begun, taken, released])
        assert source.may_start(begun)
        assert source.may_start(taken)
        assert not source.may_start(released)
        assert [idle > 3_000_000 for idle in await idle_ms(client)] == [False, False, True]
        assert await recorded(client) == [(ids[0], ALONE, 2), (ids[1], TAKEN, 1), (ids[2], WAITING, 1)]


async def test_a_waiting_entry_is_renewed(server: Server, client: redis.asyncio.Redis) -> None:
    """An entry that waits for a retry stays with its instance."""
    async with opened(server) as source:
        (entry_id,) = await add(client, "1")
        (entry,) = await take(source)
        await settle(source, Outcome.RETRIED, entry, delay_ms=600_000)
        await lapse(client, entry_id)
        renew_on_a_thread(source)
        assert max(await idle_ms(client)) < 3_000_000
        assert await recorded(client) == [(entry_id, WAITING, 2)]


async def test_a_queued_entry_is_renewed(server: Server, client: redis.asyncio.Redis) -> None:
    """An entry that was read and not taken yet stays with its instance."""
    async with opened(server, keys=(KEY, "other")) as source:
        await add(client, "1", key="other")
        await add(client, "1")
        (entry,) = await take(source)  # a read returns one of each stream
        queued = KEY if entry.key == "other" else "other"
        ((queued_id, _, _),) = await recorded(client, key=queued)
        await lapse(client, queued_id, key=queued)
        renew_on_a_thread(source)
        assert max(await idle_ms(client, key=queued)) < 3_000_000


@pytest.mark.parametrize("how", ["claimed by another", "deleted"])
async def test_a_waiting_entry_that_is_gone(
    server: Server, client: redis.asyncio.Redis, version: tuple[int, ...], how: str
) -> None:
    """A renewal finds that an entry that waits for a retry is gone. A deleted one is counted once.

    Before Redis 7.0 a deleted entry can still be claimed, so this is found when the retry is due.
    """
    measured = metrics()
    async with opened(server, measured=measured) as source:
        gone_id, kept_id = await add(client, "gone", "kept")
        await settle(source, Outcome.RETRIED, *await take(source, 2), delay_ms=600_000)
        if how == "deleted":
            await client.xdel(KEY, gone_id)
        else:
            await claim(client, "theirs", gone_id)
        for _ in range(2):
            renew_on_a_thread(source)
            await source.maintain()
        assert measured.entries_lost._value.get() == int(how == "deleted" and version >= (7,))
        assert (kept_id, WAITING, 2) in await recorded(client)


async def test_the_fast_path_costs_no_more_commands(server: Server, client: redis.asyncio.Redis) -> None:
    """Taking and acknowledging entries costs one XREADGROUP for each batch and one XACK."""
    async with opened(server) as source:
        await add(client, *map(str, range(100)))
        entries = await take(source, 10)
        await client.config_resetstat()
        taken = 10
        while entries:
            entries = await source.settle_and_take(entries, 10, 2**30)
            taken += len(entries)
        assert taken == 100
        calls = {name: stats["calls"] for name, stats in (await client.info("commandstats")).items()}
    assert calls["cmdstat_xreadgroup"] == calls["cmdstat_xack"] == calls["cmdstat_multi"] == 10
    assert set(calls) <= {f"cmdstat_{name}" for name in ("xreadgroup", "xack", "multi", "exec", "config|resetstat")} | {
        "cmdstat_config",
        "cmdstat_info",
    }


async def test_consumers_of_dead_instances_are_removed(
    server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All consumers of a dead instance are removed once they hold nothing, and those of an instance that closes."""
    monkeypatch.setattr("listeners.streams.consumer.DEAD_LEASES", 0)
    monkeypatch.setattr("listeners.streams.consumer.MIN_DEAD_SECONDS", 0.0)
    monkeypatch.setattr("listeners.streams.source.TIDY_SECONDS", 0)

    async def consumers() -> set[str]:
        return {consumer["name"].decode() for consumer in await client.xinfo_consumers(KEY, GROUP)}

    async with opened(server) as source:
        _, holding, empty = await add(client, "1", "2", "3")
        entry, *_ = await take(source, 3)
        await claim(client, "triggerfish-dead:waiting", holding)
        for name in ("triggerfish-dead", "triggerfish-dead:alone", "triggerfish-other:waiting", "theirs"):
            await claim(client, name, empty)
        await client.xack(KEY, GROUP, empty)

        async def only_holders() -> bool:
            return await consumers() == {"triggerfish-dead:waiting", TAKEN, "theirs"}

        async with maintained(source):
            await eventually(only_holders)
        await settle(source, Outcome.RETRIED, entry)
        (entry,) = await take(source)
        await settle(source, Outcome.SUCCEEDED, entry)
    assert await consumers() == {"triggerfish-dead:waiting", "theirs"}
