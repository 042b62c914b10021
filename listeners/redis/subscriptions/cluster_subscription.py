"""A subscription at every primary of a cluster: keyspace notifications come only from the node that has the key."""

import asyncio
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter

from listeners.connections.spec import Endpoint
from listeners.errors import SourceError
from listeners.redis.subscriptions.node_subscription import NodeSubscription
from listeners.redis.subscriptions.shared import SharedSubscriptions
from listeners.redis.subscriptions.subscription import Message, Subscription
from listeners.runtime.tasks import wait_for_event

__all__ = ["ClusterSubscription"]

FOLLOW_SECONDS = 1.0


class ClusterSubscription(Subscription):
    """A Subscription that follows the cluster's topology. A failing node does not stop the messages of the others."""

    def __init__(
        self, shared: SharedSubscriptions, on_message: Callable[[Message], bool], on_end: Callable[[], object]
    ) -> None:
        self._shared = shared
        self._on_message = on_message
        self._on_end = on_end
        self._channels: dict[str, tuple[bool, Callable[[], object] | None]] = {}
        self._subscriptions: dict[Endpoint, NodeSubscription] = {}
        # New primaries appear after a failover, or when slots move to another node.
        self.follow_seconds = FOLLOW_SECONDS

    @property
    def ended(self) -> bool:
        """Always False: follow_topology() subscribes again at a node whose subscription ended."""
        return False

    async def add(self, *channels: str, pattern: bool = False, then: Callable[[], object] | None = None) -> None:
        """Subscribe to more channels or patterns at every primary. `then` is called for each channel whenever a primary
        confirms it.

        Raises SourceError.
        """
        self._channels.update(dict.fromkeys(channels, (pattern, then)))
        for subscription in self._subscriptions.values():
            await subscription.add(*channels, pattern=pattern, then=then)
        await self.follow_topology()

    async def remove(self, *channels: str, pattern: bool = False) -> None:
        """Unsubscribe. Raises SourceError."""
        for channel in channels:
            self._channels.pop(channel, None)
        for subscription in self._subscriptions.values():
            await subscription.remove(*channels, pattern=pattern)

    def is_subscribed(self, channel: str) -> bool:
        """Return whether this channel or pattern was added."""
        return channel in self._channels

    async def wait_for(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait for an event that a message will set, at most `seconds`. Return whether it is set."""
        return await wait_for_event(event, seconds)

    async def catch_up(self) -> None:
        """Wait until all messages are passed on that any node published before this call. Raises SourceError."""
        for subscription in list(self._subscriptions.values()):
            await subscription.catch_up()

    def raise_if_ended(self) -> None:
        """Do nothing: follow_topology() raises errors."""

    async def check_alive(self, pause_seconds: float) -> None:
        """Ping every node. Drop those that do not answer, so that follow_topology() finds their successors."""
        for node, subscription in list(self._subscriptions.items()):
            try:
                await subscription.check_alive(pause_seconds)
            except SourceError:
                await self._drop(node)

    async def follow_topology(self) -> None:
        """Subscribe at primaries that are new or were dropped, and drop nodes that are no longer primaries.

        Tries every node, then raises the SourceError of one that failed.
        """
        primaries = await self._shared.primaries()
        for node in [node for node, each in self._subscriptions.items() if each.ended or node not in primaries]:
            await self._drop(node)
        last_error: SourceError | None = None
        for node in primaries:
            if node not in self._subscriptions:
                try:
                    self._subscriptions[node] = await self._subscribe_at(node)
                except SourceError as error:
                    last_error = error
        if last_error is not None:
            raise last_error

    async def close(self) -> None:
        """Close all connections, which ends all subscriptions."""
        for node in list(self._subscriptions):
            await self._drop(node)

    async def _subscribe_at(self, node: Endpoint) -> NodeSubscription:
        subscription = self._shared.open_at(node, self._on_message, self._on_end)
        try:
            for (pattern, then), group in groupby(list(self._channels.items()), key=itemgetter(1)):
                await subscription.add(*(channel for channel, _ in group), pattern=pattern, then=then)
        except BaseException:
            await subscription.close()
            raise
        return subscription

    async def _drop(self, node: Endpoint) -> None:
        await self._subscriptions.pop(node).close()
