"""Listens for keyspace notifications of changed keys, where a Redis publishes them."""

import asyncio
import math
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Generic, TypeVar

from listeners.connections.spec import ConnectionSpec
from listeners.errors import AccessDeniedError, CommandRefusedError, SourceError
from listeners.keys import keyspace_channel
from listeners.redis.client import Client
from listeners.redis.cluster_subscription import ClusterSubscription
from listeners.redis.keyspace import publishes_new_entries
from listeners.redis.node_subscription import NodeSubscription
from listeners.redis.subscription import MAX_CHANNELS, Message, Subscription
from listeners.runtime.logs import steady_logger
from listeners.runtime.tasks import raise_if_cancelled, wait_for_event
from listeners.text import decode

__all__ = ["KeyspaceListener"]

log = steady_logger("triggerfish.scaler")

#: How often to check whether Redis now publishes notifications, or has stopped publishing them.
RECHECK_SECONDS = 30.0
#: The maximum time between two pings of a subscription.
PING_SECONDS = 5.0
#: A changed key is muted for this long before it is subscribed to again, which bounds the cost of a busy key.
MUTE_SECONDS = 1.0
#: The pause before the next attempt: after a denial (many hosted servers deny CONFIG), and after a lost connection.
DENIED_SECONDS = 600.0
LOST_SECONDS = 5.0
#: For each command.
TIMEOUT_SECONDS = 2.0
Watcher = TypeVar("Watcher", bound=Hashable)


class KeyspaceListener(Generic[Watcher]):
    """Calls `on_change` with each watcher of a key when Redis publishes that the key has changed.

    A key is subscribed to only while a change matters: an active trigger needs no notifications, and those of a busy
    key would be a flood. So the first change of a key ends the subscription to it, and mutes the key for MUTE_SECONDS.
    The listener never configures Redis. Callers must not rely on notifications: they are off by default, may be denied,
    and get lost.
    """

    def __init__(self, spec: ConnectionSpec, on_change: Callable[[Watcher], object]) -> None:
        self._spec = spec
        self._on_change = on_change
        self._watchers: dict[str, set[Watcher]] = {}
        #: Keys that should be subscribed to, keys that are, and keys for which either has changed.
        self._wanted: set[str] = set()
        self._subscribed: set[str] = set()
        self._dirty: set[str] = set()
        self._changed_at: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._logged: str | None = None

    def watch(self, watcher: Watcher, keys: Iterable[str]) -> None:
        """Notify a watcher when one of these keys changes. Call this repeatedly: it also unmutes keys that are due."""
        due = time.monotonic() - MUTE_SECONDS
        for key in keys:
            self._watchers.setdefault(key, set()).add(watcher)
            if key not in self._wanted and self._changed_at.get(key, due) <= due:
                self._changed_at.pop(key, None)
                self._wanted.add(key)
                self._mark_dirty(key)

    def unwatch(self, watcher: Watcher, keys: Iterable[str]) -> None:
        """Stop notifying a watcher of these keys."""
        for key in keys:
            watchers = self._watchers.get(key, set())
            watchers.discard(watcher)
            if not watchers and self._watchers.pop(key, None) is not None:
                self._changed_at.pop(key, None)
                self._wanted.discard(key)
                self._mark_dirty(key)

    async def run(self) -> None:
        """Listen whenever Redis publishes notifications, until cancelled."""
        while True:
            await asyncio.sleep(await self._attempt())
            raise_if_cancelled()

    async def _attempt(self) -> float:
        """Make one attempt to listen. Returns the seconds to wait before the next one."""
        try:
            self._log_state(await self._listen())
        except (AccessDeniedError, CommandRefusedError) as error:
            self._log_state(str(error))
            return DENIED_SECONDS
        except SourceError as error:
            self._log_state(str(error))
            return LOST_SECONDS
        except Exception:
            log.exception("unexpected error while listening for notifications of Redis at %s", self._spec.address)
        return RECHECK_SECONDS

    async def _listen(self) -> str:
        """Listen while Redis publishes notifications. Returns why it does not. Raises SourceError if the connection is
        lost or a command is denied.
        """
        client = Client(self._spec, "triggerfish:scaler:notifications", timeout_seconds=TIMEOUT_SECONDS)
        try:
            await client.server()
            if reason := await _why_disabled(client):
                return reason
            subscription = await self._subscription(client)
            try:
                self._subscribed, self._dirty = set(), set(self._wanted)
                self._log_state("")
                return await self._follow(client, subscription)
            finally:
                await subscription.close()
        finally:
            await client.aclose()

    async def _subscription(self, client: Client) -> Subscription:
        if client.is_cluster:
            return ClusterSubscription(client, self._received, self._wake.set)
        redis = await client.subscription(self._channel(""))
        return NodeSubscription(redis, self._received, self._wake.set)

    async def _follow(self, client: Client, subscription: Subscription) -> str:
        """Keep the subscription up to date while Redis publishes notifications. Returns why it no longer does."""
        recheck_at = time.monotonic() + RECHECK_SECONDS
        ping_at = math.inf  # there is no connection until the first key is subscribed to
        while True:
            await self._reconcile(subscription)
            if self._subscribed:
                ping_at = min(ping_at, time.monotonic() + PING_SECONDS)
            if time.monotonic() >= ping_at:
                await subscription.check_alive(PING_SECONDS)
                await subscription.follow_topology()
                ping_at = time.monotonic() + min(PING_SECONDS, subscription.follow_seconds)
            if time.monotonic() >= recheck_at:
                if reason := await _why_disabled(client):
                    return reason
                recheck_at = time.monotonic() + RECHECK_SECONDS
            await self._pause(min(PING_SECONDS, subscription.follow_seconds))
            subscription.raise_if_ended()

    async def _reconcile(self, subscription: Subscription) -> None:
        """Subscribe to the wanted keys, and unsubscribe from all others."""
        dirty, self._dirty = self._dirty, set()
        for keys in _batches(dirty & self._wanted - self._subscribed):
            await subscription.add(*map(self._channel, keys))
            self._subscribed.update(keys)
        for keys in _batches((dirty & self._subscribed) - self._wanted):
            self._subscribed.difference_update(keys)
            await subscription.remove(*map(self._channel, keys))

    async def _pause(self, seconds: float) -> None:
        await wait_for_event(self._wake, seconds)
        raise_if_cancelled()
        self._wake.clear()

    def _received(self, message: Message) -> bool:
        key = decode(message.channel).removeprefix(self._channel(""))
        if key not in self._watchers:
            return False
        self._changed_at[key] = time.monotonic()
        self._wanted.discard(key)
        self._mark_dirty(key)
        for watcher in self._watchers.get(key, ()):
            self._on_change(watcher)
        return False

    def _mark_dirty(self, key: str) -> None:
        self._dirty.add(key)
        self._wake.set()

    def _channel(self, key: str) -> str:
        return keyspace_channel(self._spec.database, key)

    def _log_state(self, reason: str) -> None:
        """Log each change of state once. `reason`: why Redis publishes no notifications; empty if it does."""
        if reason == self._logged:
            return
        self._logged = reason
        if reason:
            log.info(
                "Redis at %s publishes no notifications of entries (%s); sampling only", self._spec.address, reason
            )
        else:
            log.info("Redis at %s publishes notifications of entries; activation is immediate", self._spec.address)


async def _why_disabled(client: Client) -> str:
    """Return why Redis publishes no notifications of entries; empty if it does. Raises SourceError."""
    setting = "notify-keyspace-events"
    answers = await client.on_every_primary("CONFIG", "GET", setting, doing=f"CONFIG GET {setting}")
    if not all(publishes_new_entries(decode(answer[1]) if answer else "") for answer in answers):
        return f"{setting} lacks K, or has neither l nor t"
    return ""


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    ordered = sorted(keys)
    for start in range(0, len(ordered), MAX_CHANNELS):
        yield ordered[start : start + MAX_CHANNELS]
