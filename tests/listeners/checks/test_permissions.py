"""The rule that `check --acl` prints suffices for everything that an app does, on every release with ACL."""

import asyncio
from functools import partial

import pytest
import redis.asyncio
from pydantic import SecretStr

from listeners.checks.check import acl_commands, check
from listeners.connections.named import Connections
from listeners.dead_letters.letters import DeadLetter
from listeners.dead_letters.store import DeadLetters
from listeners.functions.triggers import PubSubTrigger
from listeners.keys import dead_letters_key
from listeners.redis.acl import PASSWORD
from listeners.redis.client import Client
from listeners.redis.entry_id import EntryId
from listeners.settings import HostSettings
from scaler.access.access import Access
from scaler.evaluation.evaluator import Evaluator
from scaler.measuring.samplers import Samplers
from scaler.triggers.app_triggers import app_triggers
from tests.servers.catalogue import RELEASES
from tests.support.trigger_kinds import add, payload_of
from tests.support.waiting import eventually
from triggerfish import App, Host, RedisMessage
from triggerfish.testing.server import Server

pytestmark = [
    pytest.mark.usefixtures("quick_retries", "quick_reclaims"),
    pytest.mark.releases(*(name for name in RELEASES if name != "redis-5.0")),
]

LISTS = ("leased", "odd{key}*[1]", "from-end", "plain", "plain-1")
STREAMS = ("kept", "deleted")
CHANNELS = ("news*[1]", "prices.oil")
#: The keys whose entries are redelivered.
LEASED = ("leased", "odd{key}*[1]", "from-end", *STREAMS)


class Shop:
    """An app with triggers of every kind. Payload `bad` always fails; `slow` does not finish while `hold` is set."""

    def __init__(self) -> None:
        self.app = App("shop")
        self.started: set[tuple[str, str]] = set()
        self.handled: set[tuple[str, str]] = set()
        self.hold = True
        app = self.app
        self._add("on_leased", app.list_trigger(keys=["leased", "odd{key}*[1]"], max_deliveries=2))
        self._add("on_end", app.list_trigger(keys="from-end", max_deliveries=2, list_pop_from_beginning=False))
        self._add("on_plain", app.list_trigger(keys="plain", delivery="at-most-once"))
        self._add(
            "on_several",
            app.list_trigger(keys="plain-1 plain-2", delivery="at-most-once", list_pop_from_beginning=False),
        )
        self._add("on_kept", app.stream_trigger(keys="kept", polling_interval_ms=20, max_deliveries=2))
        self._add(
            "on_deleted",
            app.stream_trigger(keys="deleted", delete_after_process=True, polling_interval_ms=20, max_deliveries=2),
        )
        self._add("on_channel", app.pubsub_trigger(channel="news*[1]", pattern=False))
        self._add("on_pattern", app.pubsub_trigger(channel="prices.*", singleton=False))

    def _add(self, name: str, decorate: object) -> None:
        async def handle(message: RedisMessage) -> None:
            payload = payload_of(message)
            self.started.add((message.trigger, payload))
            if payload == "bad":
                raise ValueError(payload)
            while payload == "slow" and self.hold:
                await asyncio.sleep(0.01)
            self.handled.add((message.trigger, payload))

        handle.__name__ = name
        assert callable(decorate)
        decorate(handle)


async def put(client: redis.asyncio.Redis, payload: str, keys: tuple[str, ...]) -> set[tuple[str, str]]:
    """Add a payload to each list or stream. Returns what will be handled."""
    for key in keys:
        await add(client, "stream" if key in STREAMS else "list", payload, key=key)
    return {(key, payload) for key in keys}


async def are_dead(client: redis.asyncio.Redis, keys: tuple[str, ...]) -> bool:
    """Return whether each list and stream has one dead letter."""
    return all([await client.xlen(dead_letters_key(key)) == 1 for key in keys])


async def test_the_printed_rule_suffices(server: Server, client: redis.asyncio.Redis) -> None:
    """A user created by the printed command can do all that an app, `explain` and `dead` do, with no denied command."""
    shop, keys = Shop(), (*LISTS, *STREAMS)
    [(_, line)] = [found async for found in acl_commands(shop.app, Connections(SecretStr(server.address)))]
    assert line.startswith(f"ACL SETUSER shop on >{PASSWORD} ")
    await client.execute_command(*line.split())
    await client.execute_command("ACL", "LOG", "RESET")
    connections = Connections(SecretStr(f"{server.address},user=shop,password={PASSWORD}"))
    try:
        await handle_retry_and_drain(client, connections, shop)
        await explain(connections, shop.app)
        shop.hold = False
        await handle_released(connections, shop)
        assert await are_dead(client, keys)
        assert await requeue(connections, shop.app) == len(keys)
        assert await client.execute_command("ACL", "LOG") == []
        async for found in check(shop.app, connections, HostSettings()):
            assert found.works, found
            assert not any("denied" in warning and "persists" not in warning for warning in found.warnings), found
    finally:
        await client.execute_command("ACL", "DELUSER", "shop")


async def handle_retry_and_drain(client: redis.asyncio.Redis, connections: Connections, shop: Shop) -> None:
    """Handle entries, fail others until they are dead-lettered, and release those that do not finish in time."""
    keys = (*LISTS, *STREAMS)
    host = Host(shop.app, connections, HostSettings(grace_period_seconds=0.1))
    running = asyncio.create_task(host.run())
    try:
        good = await put(client, "good", keys)
        await put(client, "bad", keys)
        await eventually(lambda: shop.handled >= good)
        await eventually(lambda: are_dead(client, keys))
        for channel in CHANNELS:
            await eventually(partial(published, client, channel, shop))
        slow = await put(client, "slow", LEASED)
        await eventually(lambda: shop.started >= slow)
    finally:
        host.drain()
        async with asyncio.timeout(30):
            await running


async def published(client: redis.asyncio.Redis, channel: str, shop: Shop) -> bool:
    """Publish on a channel. Returns whether a message was handled."""
    await client.publish(channel, "good")
    return (channel, "good") in shop.handled


async def handle_released(connections: Connections, shop: Shop) -> None:
    """Handle the released entries in another instance."""
    host = Host(shop.app, connections, HostSettings())
    running = asyncio.create_task(host.run())
    try:
        await eventually(lambda: shop.handled >= {(key, "slow") for key in LEASED})
    finally:
        host.drain()
        async with asyncio.timeout(30):
            await running


async def explain(connections: Connections, app: App) -> None:
    """Measure every trigger as the scaler does. Raises SourceError if a command is denied."""
    samplers = Samplers(bound_seconds=5, on_measured=lambda seconds, error: None)
    evaluator = Evaluator(Access(connections), samplers)
    try:
        for owner, trigger in app_triggers(app, None).items():
            await evaluator.evaluate(owner, trigger)
    finally:
        await samplers.close()


async def requeue(connections: Connections, app: App) -> int:
    """Requeue every dead letter as `triggerfish dead` does. Returns how many."""
    client = Client(connections.resolve(next(iter(app.functions.values())).trigger), "test")
    number = 0
    for function in app.functions.values():
        if not isinstance(function.trigger, PubSubTrigger):
            letters = DeadLetters(client, function.trigger, function.name)
            for key in function.trigger.keys:
                await letters.total(key)
                for listed in [each async for each in letters.newest_first(key)]:
                    letter = await letters.find(key, EntryId.parse(listed.id.encode()))
                    assert isinstance(letter, DeadLetter)
                    number += await letters.requeue(letter)
    await client.aclose()
    return number
