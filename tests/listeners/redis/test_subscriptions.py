"""Subscriptions that share a connection: each gets its messages as if it were alone."""

import asyncio
import signal
from collections.abc import AsyncIterator
from functools import partial
from typing import Self

import pytest
import redis.asyncio

from listeners.connections.strings import parse_connection_string
from listeners.errors import AccessDeniedError, SourceTimeoutError, SourceUnavailableError
from listeners.redis.client import Client
from listeners.redis.subscriptions.node_subscription import NodeSubscription
from listeners.redis.subscriptions.shared import SharedSubscriptions
from listeners.redis.subscriptions.subscription import MAX_CHANNELS, Message
from tests.servers.catalogue import REPRESENTATIVE, REPRESENTATIVE_WITH_ACL
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

PASSWORD = "hidden-word"
CONFIRMED = "confirmed"


class Recorder:
    """A subscription, and what happened to it: its messages, CONFIRMED, and how many times it ended."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.ends = 0
        self.subscription: NodeSubscription

    @classmethod
    async def open(cls, shared: SharedSubscriptions) -> Self:
        recorder = cls()
        recorder.subscription = await shared.open("c", recorder._received, recorder._ended)
        return recorder

    async def add(self, *channels: str, pattern: bool = False) -> None:
        await self.subscription.add(*channels, pattern=pattern, then=partial(self.events.append, CONFIRMED))

    def _received(self, message: Message) -> bool:
        self.events.append(message.data.decode())
        return False

    def _ended(self) -> None:
        self.ends += 1


@pytest.fixture
async def shared(ours: Client) -> AsyncIterator[SharedSubscriptions]:
    """What shares the connection."""
    subscriptions = SharedSubscriptions(ours)
    yield subscriptions
    await subscriptions.aclose()


async def subscribers(client: redis.asyncio.Redis) -> list[str]:
    """Return the IDs of the connections that subscribe to something."""
    return [row["id"] for row in await client.client_list() if int(row["sub"]) + int(row["psub"])]


async def number_of_subscribers(client: redis.asyncio.Redis) -> int:
    return len(await subscribers(client))


class Publisher:
    """Publishes 0, 1, 2, ... to a channel within its block. `number` is how many so far."""

    def __init__(self, client: redis.asyncio.Redis, channel: str) -> None:
        self.number = 0
        self._client = client
        self._channel = channel
        self._stop = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await self._running

    async def publish_more(self) -> None:
        """Wait until some more are published."""
        wanted = self.number + 50
        await eventually(lambda: self.number > wanted)

    async def received_by(self, *recorders: Recorder) -> None:
        """Wait until the last message has arrived."""
        await eventually(lambda: {recorder.events[-1] for recorder in recorders} == {str(self.number - 1)})

    async def _run(self) -> None:
        while not self._stop.is_set():
            await self._client.publish(self._channel, self.number)
            self.number += 1


def numbers(start: int, end: int) -> list[str]:
    return [str(number) for number in range(start, end)]


async def test_messages_begin_with_the_confirmation(shared: SharedSubscriptions, client: redis.asyncio.Redis) -> None:
    """On every release, subscribing again to a channel is confirmed in the order of the messages: from then on, the
    second subscriber gets each one, and the first one misses none.
    """
    first = await Recorder.open(shared)
    others = list[tuple[Recorder, int]]()
    async with Publisher(client, "c") as publisher:
        await first.add("c")
        for pattern in (False, True, False, True):
            await publisher.publish_more()
            other, last_of_first = await Recorder.open(shared), list[str]()

            def confirmed(other: Recorder = other, last_of_first: list[str] = last_of_first) -> None:
                other.events.append(CONFIRMED)
                last_of_first.append(first.events[-1])

            await other.subscription.add("[c]" if pattern else "c", pattern=pattern, then=confirmed)
            others.append((other, int(last_of_first[0]) + 1))
        await publisher.publish_more()
    await publisher.received_by(first, *(other for other, _ in others))
    assert first.events == [CONFIRMED, *numbers(int(first.events[1]), publisher.number)]
    for other, start in others:
        assert other.events == [CONFIRMED, *numbers(start, publisher.number)]
    assert await number_of_subscribers(client) == 1


@pytest.mark.releases(*REPRESENTATIVE)
async def test_one_of_two_unsubscribes(shared: SharedSubscriptions, client: redis.asyncio.Redis) -> None:
    """The one that stays misses nothing. The other gets nothing until it subscribes again. The connection unsubscribes
    with the last one.
    """
    stays, leaves, closes = [await Recorder.open(shared) for _ in range(3)]
    for recorder in (stays, leaves, closes):
        await recorder.add("c")
    async with Publisher(client, "c") as publisher:
        await eventually(lambda: leaves.events[1:] and closes.events[1:])
        await leaves.subscription.remove("c")
        await closes.subscription.close()
        before, closed = list(leaves.events), list(closes.events)
        await publisher.publish_more()
        assert leaves.events == before
        await leaves.add("c")
        await publisher.publish_more()
    await publisher.received_by(stays, leaves)
    assert closes.events == closed
    assert stays.events == [CONFIRMED, *numbers(0, publisher.number)]
    again = leaves.events[len(before) :]
    assert again == [CONFIRMED, *numbers(int(again[1]), publisher.number)]
    assert int(again[1]) > int(before[-1]) + 1
    await leaves.add("other")
    await leaves.subscription.remove("c")
    assert await client.pubsub_numsub("c") == [(b"c", 1)]
    await stays.subscription.remove("c")
    assert await client.pubsub_numsub("c") == [(b"c", 0)]
    assert await number_of_subscribers(client) == 1
    await stays.subscription.close()
    await leaves.subscription.close()
    await eventually(lambda: none_subscribe(client))


async def none_subscribe(client: redis.asyncio.Redis) -> bool:
    return not await subscribers(client)


@pytest.mark.releases("valkey-9.1")
async def test_a_subscription_closed_before_its_confirmation(
    shared: SharedSubscriptions, client: redis.asyncio.Redis
) -> None:
    """It is not confirmed, gets nothing, and leaves no subscription behind."""
    stays, closed = await Recorder.open(shared), await Recorder.open(shared)
    await stays.add("other")
    adding = asyncio.create_task(closed.add("c"))
    await asyncio.sleep(0)  # it has sent the command
    await closed.subscription.close()
    with pytest.raises(SourceUnavailableError, match="was closed"):
        await adding
    await stays.add("last")
    assert await client.pubsub_numsub("c") == [(b"c", 0)]
    assert closed.events == []


@pytest.mark.releases("redis-5.0", "valkey-9.1")
async def test_more_channels_than_one_command_may_have(
    shared: SharedSubscriptions, client: redis.asyncio.Redis
) -> None:
    """They are subscribed to in batches, and each is confirmed once."""
    channels = [f"c{number}" for number in range(2 * MAX_CHANNELS + 1)]
    one, another = await Recorder.open(shared), await Recorder.open(shared)
    await another.add("other")
    before = int((await client.info("commandstats"))["cmdstat_subscribe"]["calls"])
    await one.add(*channels)
    assert one.events == [CONFIRMED] * len(channels)
    assert int((await client.info("commandstats"))["cmdstat_subscribe"]["calls"]) == before + 3
    await client.publish(channels[-1], "last")
    await eventually(lambda: one.events[-1] == "last")
    await one.subscription.close()
    await another.add("c0")
    assert len(await client.pubsub_channels("*")) == 2


async def is_without_channel_rules(client: redis.asyncio.Redis) -> bool:
    """Return whether the server cannot restrict channels, as before Redis 6.2."""
    return str((await client.info("server"))["redis_version"]).startswith("6.0")


@pytest.mark.releases(*REPRESENTATIVE_WITH_ACL)
async def test_a_denied_channel_fails_one_subscription(server: Server, client: redis.asyncio.Redis) -> None:
    """The user may not subscribe to a channel: that subscription fails, and others on the connection miss nothing."""
    denial = ("-psubscribe",) if await is_without_channel_rules(client) else ("&allowed",)
    await client.execute_command("ACL", "SETUSER", "limited", "reset", "on", f">{PASSWORD}", "~*", "+@all", *denial)
    ours = Client(parse_connection_string(f"{server.address},user=limited,password={PASSWORD}"), "test")
    shared = SharedSubscriptions(ours)
    try:
        allowed, denied = await Recorder.open(shared), await Recorder.open(shared)
        await allowed.add("allowed")
        async with Publisher(client, "allowed") as publisher:
            await eventually(lambda: allowed.events[1:])
            with pytest.raises(AccessDeniedError, match=r"subscribing to 'denied\*'"):
                await denied.add("denied*", pattern=True)
            await denied.subscription.close()
            await publisher.publish_more()
        await publisher.received_by(allowed)
        assert allowed.events == [CONFIRMED, *numbers(0, publisher.number)]
        assert (allowed.ends, denied.events) == (0, [])
    finally:
        await shared.aclose()
        await ours.aclose()
        await client.execute_command("ACL", "DELUSER", "limited")


@pytest.mark.releases(*REPRESENTATIVE)
async def test_a_lost_connection(shared: SharedSubscriptions, client: redis.asyncio.Redis) -> None:
    """It ends all subscriptions, and the next ones share a new connection."""
    recorders = [await Recorder.open(shared) for _ in range(5)]
    for recorder in recorders:
        await recorder.add("c")
    [lost] = await subscribers(client)
    await client.execute_command("CLIENT", "KILL", "ID", lost)
    await eventually(lambda: [recorder.ends for recorder in recorders] == [1] * 5)
    for recorder in recorders:
        assert recorder.subscription.ended
        with pytest.raises(SourceUnavailableError):
            recorder.subscription.raise_if_ended()
        with pytest.raises(SourceUnavailableError):
            await recorder.subscription.check_alive(1)
    again = [await Recorder.open(shared) for _ in range(5)]
    await asyncio.gather(*(recorder.add("c") for recorder in again))
    for recorder in recorders:
        await recorder.subscription.close()
    await client.publish("c", "again")
    await eventually(lambda: [recorder.events[-1] for recorder in again] == ["again"] * 5)
    assert await number_of_subscribers(client) == 1
    assert all(recorder.events == [CONFIRMED] for recorder in recorders)


@pytest.mark.releases("redis-5.0", "valkey-9.1")
async def test_one_ping_for_all(shared: SharedSubscriptions, client: redis.asyncio.Redis) -> None:
    """However many subscriptions check the connection, it pings once, and again after half of their interval."""
    recorders = [await Recorder.open(shared) for _ in range(20)]
    await recorders[0].add("c")

    async def pings() -> int:
        stats = await client.info("commandstats")
        return int(stats["cmdstat_ping"]["calls"]) if "cmdstat_ping" in stats else 0

    before = await pings()
    for recorder in recorders:
        await recorder.subscription.check_alive(3600)
        await recorder.add("c")  # awaits the reply to the ping, too
    assert await pings() == before + 1
    await recorders[0].subscription.check_alive(0)
    await recorders[0].add("last")
    assert await pings() == before + 2


async def test_a_server_that_hangs(own_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check ends the connection for all subscriptions once a reply is overdue, also if only subscribing is tried."""
    monkeypatch.setattr("listeners.redis.subscriptions.connection.SILENCE_SECONDS", 0.2)
    monkeypatch.setattr("listeners.redis.subscriptions.connection.CONFIRM_SECONDS", 0.1)
    ours = Client(parse_connection_string(own_server.address), "test")
    shared = SharedSubscriptions(ours)
    first, second, third = [await Recorder.open(shared) for _ in range(3)]
    for recorder in (first, second, third):
        await recorder.add("c")
    own_server.process.send_signal(signal.SIGSTOP)
    with pytest.raises(SourceTimeoutError, match="no answer in time"):
        await first.add("d")

    async def went_silent() -> bool:
        try:
            await second.add("e")
        except SourceTimeoutError as error:
            return "went silent" in str(error)
        return False

    await eventually(went_silent)
    await eventually(lambda: [recorder.ends for recorder in (first, second, third)] == [1] * 3)
    with pytest.raises(SourceTimeoutError, match="went silent"):
        await third.subscription.check_alive(1)
    own_server.process.send_signal(signal.SIGCONT)
    await shared.aclose()
    await ours.aclose()
