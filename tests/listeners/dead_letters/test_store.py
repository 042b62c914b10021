"""Listing, requeuing and purging dead letters, on every server release."""

import redis.asyncio

from listeners.dead_letters.letters import DeadLetter, UnreadableLetter
from listeners.dead_letters.store import DeadLetters, Summary
from listeners.functions.entries import Entry
from listeners.functions.triggers import ListTrigger, StreamTrigger
from listeners.keys import dead_letters_key
from listeners.redis.client import Client
from listeners.redis.entry_id import EntryId
from tests.support.letters import add_letter

KEY = "work"
DEAD = dead_letters_key(KEY)
#: More fields than a script can unpack, whose names and values are not UTF-8.
WIDE = [b"\xff%d" % number for number in range(40_000)]


def of_list(client: Client) -> DeadLetters:
    """The dead letters of a list's function."""
    return DeadLetters(client, ListTrigger(keys=(KEY,)), "f")


def of_stream(client: Client) -> DeadLetters:
    """The dead letters of a stream's function."""
    return DeadLetters(client, StreamTrigger(keys=(KEY,)), "f")


async def found(letters: DeadLetters, letter_id: str) -> DeadLetter:
    """Return a dead letter that exists and can be read."""
    letter = await letters.find(KEY, EntryId.parse(letter_id.encode()))
    assert isinstance(letter, DeadLetter)
    return letter


async def test_letters_are_listed_newest_first(client: redis.asyncio.Redis, ours: Client) -> None:
    """All letters of the function come, from any ID on, whatever the pages; those of others do not."""
    ids = []
    for number in range(250):
        ids.append(await add_letter(client, Entry(KEY, payload=b"%d" % number), error=f"E: {number}"))
        await add_letter(client, Entry(KEY, payload=b"x"), "other")
    letters = of_list(ours)
    assert [letter.id async for letter in letters.newest_first(KEY)] == ids[::-1]
    before = EntryId.parse(ids[100].encode())
    assert [letter.id async for letter in letters.newest_first(KEY, before)] == ids[99::-1]
    assert await letters.total(KEY) == 500
    assert await letters.total("no such key") == 0


async def test_a_list_does_not_carry_the_entries(client: redis.asyncio.Redis, ours: Client) -> None:
    """Entries of any size and number of fields are listed without their contents and tracebacks; find() has both."""
    await add_letter(client, Entry(KEY, payload=b"p" * 10_000_000), traceback="Traceback\n")
    wide = await add_letter(client, Entry(KEY, flat_fields=WIDE, id="7-0", deliveries=3), where="app.py:1 in f")
    many = await add_letter(client, Entry(KEY, flat_fields=WIDE[:2_000]))
    before = await client.info("stats")
    listed = [letter async for letter in of_list(ours).newest_first(KEY)]
    after = await client.info("stats")
    assert after["total_net_output_bytes"] - before["total_net_output_bytes"] < 100_000
    assert all(isinstance(letter, DeadLetter) and letter.entry.size == 0 for letter in listed)
    assert [letter.id for letter in listed][:2] == [many, wide]
    letter = await found(of_stream(ours), wide)
    assert (letter.entry.id, letter.entry.deliveries, letter.where) == ("7-0", 3, "app.py:1 in f")
    assert letter.entry.flat_fields == WIDE


async def test_unreadable_letters_are_listed_and_purged(client: redis.asyncio.Redis, ours: Client) -> None:
    """What is no dead letter does not hide the others, and can be purged."""
    first = await add_letter(client, Entry(KEY, payload=b"a"))
    foreign = (await client.execute_command("XADD", DEAD, "*", "a", "b")).decode()
    await client.execute_command("XADD", DEAD, "*", "function", "other", "a", "b")
    letters = of_list(ours)
    listed = [letter async for letter in letters.newest_first(KEY)]
    assert [letter.id for letter in listed] == [foreign, first]
    unreadable = await letters.find(KEY, EntryId.parse(foreign.encode()))
    assert unreadable == listed[0] == UnreadableLetter(foreign, KEY, None)
    assert await letters.purge(unreadable)
    assert not await letters.purge(unreadable)
    assert await client.xlen(DEAD) == 2


async def test_a_summary_names_the_most_frequent_error(client: redis.asyncio.Redis, ours: Client) -> None:
    """Errors of one class count together, as their texts differ; the newest of them is named."""
    for error in ("ValueError: 1", "KeyError: a", "ValueError: 2", "KeyError: b", "ValueError: 3", "TypeError"):
        await add_letter(client, Entry(KEY, payload=b"p"), error=error)
    await add_letter(client, Entry(KEY, payload=b"p"), "other")
    await client.execute_command("XADD", DEAD, "*", "a", "b")
    letters = of_list(ours)
    times = [letter.time_ms async for letter in letters.newest_first(KEY) if isinstance(letter, DeadLetter)]
    assert await letters.summary(KEY) == Summary(KEY, 6, 1, min(times), max(times), "ValueError: 3", 3)
    assert await letters.summary("empty") == Summary("empty", 0, 0, None, None, None, 0)


async def test_a_list_element_is_requeued_last(client: redis.asyncio.Redis, ours: Client) -> None:
    """The element goes to the end that is taken last, once, and its dead letter is gone."""
    await client.rpush(KEY, "waits")
    letters = of_list(ours)
    letter = await found(letters, await add_letter(client, Entry(KEY, payload=b"\xff")))
    assert letters.can_requeue(letter)
    assert await letters.requeue(letter)
    assert not await letters.requeue(letter)
    from_end = DeadLetters(ours, ListTrigger(keys=(KEY,), list_pop_from_beginning=False), "f")
    assert await from_end.requeue(await found(from_end, await add_letter(client, Entry(KEY, payload=b"b"))))
    assert await client.lrange(KEY, 0, -1) == [b"b", b"waits", b"\xff"]
    assert await client.xlen(DEAD) == 0


async def test_a_stream_entry_is_requeued_unchanged(client: redis.asyncio.Redis, ours: Client) -> None:
    """Fields of any number, with duplicates and bytes that are not UTF-8, become a new entry with the same fields."""
    letters = of_stream(ours)
    kept = ([b"a", b"1", b"a", b"\xfe"], WIDE[:2_000], WIDE[:2_002], WIDE)
    for flat in kept:
        assert await letters.requeue(await found(letters, await add_letter(client, Entry(KEY, flat_fields=flat))))
    added = [flat for _, flat in await ours.command(KEY, "XRANGE", KEY, "-", "+", doing="reading")]
    assert added == list(kept)
    assert await client.xlen(DEAD) == 0


async def test_what_the_trigger_cannot_read_is_not_requeued(client: redis.asyncio.Redis, ours: Client) -> None:
    """A letter without content, or with that of another kind of trigger, is recognized."""
    empty = await add_letter(client, Entry(KEY))
    element = await add_letter(client, Entry(KEY, payload=b"p"))
    for letters in (of_list(ours), of_stream(ours)):
        assert not letters.can_requeue(await found(letters, empty))
    assert not of_stream(ours).can_requeue(await found(of_stream(ours), element))
