"""Listens for changes of keys, where a Redis tells of them by itself (keyspace notifications)."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Generic, TypeVar

from listeners.connections.spec import ConnectionSpec
from listeners.errors import AccessDeniedError, CommandRefusedError, SourceError
from listeners.keys import keyspace_channel
from listeners.redis.client import Client
from listeners.redis.cluster_subscription import ClusterSubscription
from listeners.redis.keyspace import tells_of_entries
from listeners.redis.node_subscription import NodeSubscription
from listeners.redis.subscription import MAX_CHANNELS, Message, Subscription
from listeners.runtime.tasks import raise_if_cancelled, wait_for_event
from listeners.text import decode

__all__ = ["KeyspaceListener"]

log = logging.getLogger("triggerfish.scaler")

#: How often it is looked whether Redis tells of changes by now, or does so no more.
LOOK_AGAIN_SECONDS = 30.0
#: The longest between two pings of a subscription.
PING_SECONDS = 5.0
#: A key that changed is listened for again after so long: one that never rests costs no more than that.
REST_SECONDS = 1.0
#: Before the next try where it is denied (CONFIG by many hosted servers), and after a connection was lost.
DENIED_SECONDS = 600.0
LOST_SECONDS = 5.0
TIMEOUT_SECONDS = 2.0
Who = TypeVar("Who", bound=Hashable)


class KeyspaceListener(Generic[Who]):
    """Calls `on_change` with whoever expects a change of a key, when Redis tells of one.

    Only told of while it is expected: what is active already has no need of it, and a busy key would be a flood. So the
    first change of a key ends the subscription to it, and the key rests before the next one. Nothing of Redis is
    configured, and nobody may rely on being told: notifications are off by default, may be denied, and get lost.
    """

    def __init__(self, spec: ConnectionSpec, on_change: Callable[[Who], object]) -> None:
        self._spec = spec
        self._on_change = on_change
        self._watchers: dict[str, set[Who]] = {}
        #: Keys to be subscribed to, keys that are, and those of which the one or the other changed.
        self._wanted: set[str] = set()
        self._subscribed: set[str] = set()
        self._unsettled: set[str] = set()
        self._changed_at: dict[str, float] = {}
        self._woken = asyncio.Event()
        self._said: str | None = None

    def watch(self, who: Who, keys: Iterable[str]) -> None:
        """Call for a change of any of these keys. Said again and again, it listens again to keys that have rested."""
        rested = time.monotonic() - REST_SECONDS
        for key in keys:
            self._watchers.setdefault(key, set()).add(who)
            if key not in self._wanted and self._changed_at.get(key, rested) <= rested:
                self._changed_at.pop(key, None)
                self._wanted.add(key)
                self._unsettle(key)

    def unwatch(self, who: Who, keys: Iterable[str]) -> None:
        """Call no more for these keys."""
        for key in keys:
            watchers = self._watchers.get(key, set())
            watchers.discard(who)
            if not watchers and self._watchers.pop(key, None) is not None:
                self._changed_at.pop(key, None)
                self._wanted.discard(key)
                self._unsettle(key)

    async def run(self) -> None:
        """Listen whenever Redis tells of changes; never ends by itself."""
        while True:
            await asyncio.sleep(await self._try())
            raise_if_cancelled()

    async def _try(self) -> float:
        """Listen for as long as it works; the seconds to wait before the next try."""
        try:
            self._say(await self._listen())
        except (AccessDeniedError, CommandRefusedError) as error:
            self._say(str(error))
            return DENIED_SECONDS
        except SourceError as error:
            self._say(str(error))
            return LOST_SECONDS
        except Exception:
            log.exception("listening for changes at %s failed in a way that was not foreseen", self._spec.address)
        return LOOK_AGAIN_SECONDS

    async def _listen(self) -> str:
        """Listen while Redis tells of changes; why it does not. Raises SourceError when it is lost."""
        client = Client(self._spec, "triggerfish:scaler:notifications", timeout_seconds=TIMEOUT_SECONDS)
        try:
            await client.server()
            if why_not := await _why_not(client):
                return why_not
            subscription = await self._subscription(client)
            try:
                self._subscribed, self._unsettled = set(), set(self._wanted)
                self._say("")
                return await self._follow(client, subscription)
            finally:
                await subscription.close()
        finally:
            await client.aclose()

    async def _subscription(self, client: Client) -> Subscription:
        if client.is_cluster:
            return ClusterSubscription(client, self._received, self._woken.set)
        redis = await client.subscription(self._channel(""))
        return NodeSubscription(redis, self._received, self._woken.set)

    async def _follow(self, client: Client, subscription: Subscription) -> str:
        """Keep the subscription as it is wanted, for as long as Redis tells of changes."""
        look_again_at = time.monotonic() + LOOK_AGAIN_SECONDS
        ping_at = math.inf  # there is no connection before the first key
        while True:
            await self._settle(subscription)
            if self._subscribed:
                ping_at = min(ping_at, time.monotonic() + PING_SECONDS)
            if time.monotonic() >= ping_at:
                await subscription.check_alive(PING_SECONDS)
                await subscription.follow_topology()
                ping_at = time.monotonic() + min(PING_SECONDS, subscription.follow_seconds)
            if time.monotonic() >= look_again_at:
                if why_not := await _why_not(client):
                    return why_not
                look_again_at = time.monotonic() + LOOK_AGAIN_SECONDS
            await self._pause(min(PING_SECONDS, subscription.follow_seconds))
            subscription.raise_if_ended()

    async def _settle(self, subscription: Subscription) -> None:
        """Subscribe to what is wanted, and to nothing else."""
        unsettled, self._unsettled = self._unsettled, set()
        for keys in _batches(unsettled & self._wanted - self._subscribed):
            await subscription.add(*map(self._channel, keys))
            self._subscribed.update(keys)
        for keys in _batches((unsettled & self._subscribed) - self._wanted):
            self._subscribed.difference_update(keys)
            await subscription.remove(*map(self._channel, keys))

    async def _pause(self, seconds: float) -> None:
        await wait_for_event(self._woken, seconds)
        raise_if_cancelled()
        self._woken.clear()

    def _received(self, message: Message) -> bool:
        key = decode(message.channel).removeprefix(self._channel(""))
        if key not in self._watchers:
            return False
        self._changed_at[key] = time.monotonic()
        self._wanted.discard(key)
        self._unsettle(key)
        for who in self._watchers.get(key, ()):
            self._on_change(who)
        return False

    def _unsettle(self, key: str) -> None:
        self._unsettled.add(key)
        self._woken.set()

    def _channel(self, key: str) -> str:
        return keyspace_channel(self._spec.database, key)

    def _say(self, why_not: str) -> None:
        """Log each change of state once; an empty reason: Redis tells of changes."""
        if why_not == self._said:
            return
        self._said = why_not
        if why_not:
            log.info("Redis at %s does not tell of new entries (%s): samples find them", self._spec.address, why_not)
        else:
            log.info("Redis at %s tells of new entries: activation waits for no sample", self._spec.address)


async def _why_not(client: Client) -> str:
    """Why Redis does not tell of new entries; empty if it does. Raises SourceError."""
    setting = "notify-keyspace-events"
    answers = await client.on_every_primary("CONFIG", "GET", setting, doing=f"CONFIG GET {setting}")
    if not all(tells_of_entries(decode(answer[1]) if answer else "") for answer in answers):
        return f"{setting} has no K with l or t"
    return ""


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    ordered = sorted(keys)
    for start in range(0, len(ordered), MAX_CHANNELS):
        yield ordered[start : start + MAX_CHANNELS]
