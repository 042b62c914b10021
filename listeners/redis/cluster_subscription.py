"""A subscription at every primary of a cluster: keyspace notifications come only from the node that has the key."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import groupby
from operator import itemgetter

from listeners.connections.spec import Endpoint
from listeners.errors import SourceError
from listeners.redis.client import Client
from listeners.redis.node_subscription import NodeSubscription
from listeners.redis.subscription import MAX_CHANNELS, Message, Subscription
from listeners.runtime.tasks import wait_for_event

__all__ = ["ClusterSubscription"]

FOLLOW_SECONDS = 1.0


class ClusterSubscription(Subscription):
    """Like a Subscription; follows the cluster's topology. The trouble of one node stops no other's messages."""

    def __init__(self, client: Client, on_message: Callable[[Message], bool], on_end: Callable[[], object]) -> None:
        self._client = client
        self._on_message = on_message
        self._on_end = on_end
        self._channels: dict[str, tuple[bool, Callable[[], object] | None]] = {}
        self._subscriptions: dict[Endpoint, NodeSubscription] = {}
        # New primaries appear after a fail-over, or when slots move to another node.
        self.follow_seconds = FOLLOW_SECONDS

    @property
    def ended(self) -> bool:
        """Never: a node whose subscription ends is subscribed at again by follow()."""
        return False

    async def add(self, *channels: str, pattern: bool = False, then: Callable[[], object] | None = None) -> None:
        """Subscribe to channels or patterns too, at every primary; `then` is called for each when one confirms.

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
        """Whether it is subscribed to this."""
        return channel in self._channels

    async def wait_for(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait for something that a message will set; whether it was set."""
        return await wait_for_event(event, seconds)

    def raise_if_ended(self) -> None:
        """Nothing: follow() tells what is wrong."""

    async def check_alive(self, pause_seconds: float) -> None:
        """Ping every node; one that does not answer is let go of, for follow() to find its successor."""
        for node, subscription in list(self._subscriptions.items()):
            try:
                await subscription.check_alive(pause_seconds)
            except SourceError:
                await self._forget(node)

    async def follow_topology(self) -> None:
        """Subscribe at primaries that are new or were lost, and let go of nodes that are primaries no more.

        Raises the SourceError of a node at which it did not work, after all others.
        """
        primaries = await self._client.primaries()
        for node in [node for node, one in self._subscriptions.items() if one.ended or node not in primaries]:
            await self._forget(node)
        trouble: SourceError | None = None
        for node in primaries:
            if node not in self._subscriptions:
                try:
                    self._subscriptions[node] = await self._subscribed_at(node)
                except SourceError as error:
                    trouble = error
        if trouble is not None:
            raise trouble

    async def close(self) -> None:
        """Close all connections, which ends all subscriptions at once."""
        for node in list(self._subscriptions):
            await self._forget(node)

    async def _subscribed_at(self, node: Endpoint) -> NodeSubscription:
        subscription = NodeSubscription(self._client.subscription_at(node), self._on_message, self._on_end)
        try:
            for channels, pattern, then in self._batches():
                await subscription.add(*channels, pattern=pattern, then=then)
        except BaseException:
            await subscription.close()
            raise
        return subscription

    def _batches(self) -> Iterator[tuple[list[str], bool, Callable[[], object] | None]]:
        """All channels, those together that can be subscribed to in one command."""
        for (pattern, then), group in groupby(list(self._channels.items()), key=itemgetter(1)):
            channels = [channel for channel, _ in group]
            for start in range(0, len(channels), MAX_CHANNELS):
                yield channels[start : start + MAX_CHANNELS], pattern, then

    async def _forget(self, node: Endpoint) -> None:
        await self._subscriptions.pop(node).close()
