"""Streams when the clock of the server steps back, and when the server loses data."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis.asyncio

from listeners.engine.settlement import Outcome
from listeners.errors import SourceError
from tests.listeners.streams.sources import (
    GROUP,
    KEY,
    MAX_BYTES,
    add,
    dead_letters,
    idle_ms,
    maintained,
    opened,
    recorded,
    settle,
    take,
    take_suspect,
)
from tests.servers.catalogue import RELEASES
from tests.servers.stepping_clock import STEPPABLE, SteppingClock
from tests.support.waiting import eventually
from triggerfish.testing.server import Server


@pytest.fixture
def clock(tmp_path: Path) -> SteppingClock:
    """The clock of `stepped`, an hour ahead until the test steps it back."""
    clock = SteppingClock(tmp_path)
    clock.step(3600)
    return clock


@pytest.fixture(params=STEPPABLE)
def stepped(request: pytest.FixtureRequest, clock: SteppingClock) -> Iterator[Server]:
    """A server whose clock the test steps."""
    with clock.start(RELEASES[request.param]) as server:
        yield server


@pytest.mark.parametrize("consumer", ["triggerfish-dead", "triggerfish-dead:waiting", "theirs"])
async def test_the_clock_of_the_server_steps_back(stepped: Server, clock: SteppingClock, consumer: str) -> None:
    """Entries of the dead whose idle time stands still are over after one lease, not after the hour of the step."""
    async with opened(stepped, lease_seconds=1) as source, redis.asyncio.Redis(port=stepped.port, protocol=2) as client:
        (entry_id,) = await add(client, "1")
        await client.execute_command("XREADGROUP", "GROUP", GROUP, consumer, "STREAMS", KEY, ">")
        clock.step(0)
        async with maintained(source):
            if consumer == "triggerfish-dead":
                entry = await take_suspect(source)
            else:
                (entry,) = await take(source)
        assert (entry.id, entry.deliveries) == (entry_id, 1)
        assert await recorded(client) == [(entry_id, "triggerfish-a", 1)]


async def test_entries_of_the_living_after_a_step_back(stepped: Server, clock: SteppingClock) -> None:
    """An instance that is alive keeps its entries, as its renewals record the new time."""
    async with (
        opened(stepped, lease_seconds=2) as living,
        opened(stepped, "b", lease_seconds=2) as other,
        redis.asyncio.Redis(port=stepped.port, protocol=2) as client,
    ):
        renewed, abandoned = await add(client, "1", "2")
        (entry, _) = await take(living, 2)
        clock.step(0)
        renewal = living.renewal()
        await renewal.renew([entry])

        async def other_finds_the_abandoned() -> bool:
            if (await idle_ms(client))[0] > 200:
                await renewal.renew([entry])
            suspect = await other.take_suspect()
            assert suspect is None or suspect.id == abandoned
            return suspect is not None

        async with maintained(other):
            await eventually(other_finds_the_abandoned)
        assert (renewed, "triggerfish-a", 1) in await recorded(client)


async def add_with_ids(client: redis.asyncio.Redis, *numbers: int) -> None:
    """Add entries with these numbers in their IDs."""
    for number in numbers:
        await client.xadd(KEY, {"payload": "x"}, id=f"1-{number}")


@pytest.mark.parametrize("noticed_by", ["a read", "a read, after another instance", "a check", "a renewal"])
async def test_all_data_is_lost(
    server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch, noticed_by: str
) -> None:
    """After FLUSHALL, what was held before touches no new entry, even if the new one has the same ID."""
    async with opened(server, delete_after_process=True) as former:
        await add_with_ids(client, 1, 2, 3, 4)
        entries = await take(former, 4)
        await client.flushall()
        if noticed_by == "a read":
            assert await former.take(4, MAX_BYTES) == []
            assert await client.exists(KEY)
        elif noticed_by == "a check":
            await former.maintain()
        elif noticed_by == "a read, after another instance":
            create_group = former._consumer.create_group

            async def create_group_too_late(key: str) -> bool:
                await client.xgroup_create(KEY, GROUP, "0", mkstream=True)
                return await create_group(key)

            monkeypatch.setattr(former._consumer, "create_group", create_group_too_late)
            assert await former.take(4, MAX_BYTES) == []
        async with opened(server, "b") as holder:
            await add_with_ids(client, 1, 2, 3, 4)
            await take(holder, 4)
            if noticed_by == "a renewal":
                renewal = former.renewal()
                await renewal.renew(entries)
            state = await recorded(client)
            await settle(former, Outcome.SUCCEEDED, entries[0])
            await settle(former, Outcome.RETRIED, entries[1])
            await settle(former, Outcome.DEAD_LETTERED, entries[2])
            await former.release([entries[3]])
            assert await former.settle_and_take([entries[0]], 1, MAX_BYTES) == []
            assert await recorded(client) == state
            assert [consumer for _, consumer, _ in state] == ["triggerfish-b"] * 4
            assert await client.xlen(KEY) == 4
            assert await dead_letters(client) == []


@pytest.mark.parametrize("exchange", [True, False])
async def test_an_acknowledgement_finds_nothing(server: Server, client: redis.asyncio.Redis, *, exchange: bool) -> None:
    """After an acknowledgement of an entry that is not pending, others are acknowledged only if they are held."""
    async with opened(server) as former:
        await add_with_ids(client, 1, 2)
        first, second = await take(former, 2)
        await client.flushall()
        async with opened(server, "b") as holder:
            if exchange:
                assert await former.settle_and_take([first], 1, MAX_BYTES) == []
            else:
                await settle(former, Outcome.SUCCEEDED, first)
            await add_with_ids(client, 1, 2)
            await take(holder, 2)
            await settle(former, Outcome.SUCCEEDED, second)
            assert [consumer for _, consumer, _ in await recorded(client)] == ["triggerfish-b"] * 2


async def test_the_same_ids_are_read_again(server: Server, client: redis.asyncio.Redis) -> None:
    """A new entry with the ID of one that is held is not settled by the call with the old one."""
    async with opened(server) as source, opened(server, "b") as other:
        await add_with_ids(client, 1, 2, 3, 4)
        (waiting, *old) = await take(source, 4)
        await settle(source, Outcome.RETRIED, waiting, delay_ms=1)
        await client.flushall()
        await client.xgroup_create(KEY, GROUP, "0", mkstream=True)
        await add_with_ids(client, 2)
        (again,) = await take(source)
        await add_with_ids(client, 3, 4)
        await take(other)
        await settle(source, Outcome.SUCCEEDED, *old[:2])
        await settle(source, Outcome.RETRIED, old[2])
        assert await recorded(client) == [("1-2", "triggerfish-a", 1), ("1-3", "triggerfish-b", 1)]
        (last,) = await take(source)
        await settle(source, Outcome.SUCCEEDED, again, last)
        assert await recorded(client) == [("1-3", "triggerfish-b", 1)]


async def test_retries_of_lost_data(server: Server, client: redis.asyncio.Redis) -> None:
    """Entries that waited for a retry when the data was lost are forgotten; new entries are taken."""
    async with opened(server) as source:
        await add(client, "old")
        await settle(source, Outcome.RETRIED, *await take(source), delay_ms=1)
        await client.flushall()
        await add(client, "new")
        (entry,) = await take(source)
        assert (entry.flat_fields, entry.deliveries) == ([b"payload", b"new"], 1)


async def test_settling_after_an_outage(own_server: Server) -> None:
    """After an outage, what was taken before is acknowledged only if this instance still holds it."""
    async with opened(own_server) as source:
        with own_server.client() as client:
            client.xadd(KEY, {"payload": "1"}, id="1-1")
        (entry,) = await take(source)
        own_server.process.kill()
        own_server.process.wait()
        with pytest.raises(SourceError):
            await source.take(1, MAX_BYTES)
        own_server.restart()
        # Its data is gone: another instance has taken another entry with this ID.
        with own_server.client() as client:
            client.xadd(KEY, {"payload": "2"}, id="1-1")
            client.xgroup_create(KEY, GROUP, "0")
            client.xreadgroup(GROUP, "triggerfish-b", {KEY: ">"})
            assert source.may_start(entry)
            await settle(source, Outcome.SUCCEEDED, entry)
            assert client.xpending(KEY, GROUP)["pending"] == 1
