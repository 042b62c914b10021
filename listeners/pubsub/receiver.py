"""The subscription with which an instance receives the messages of one trigger and the notices about its lease."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable

from listeners.functions.triggers import PubSubTrigger
from listeners.keys import is_keyspace_channel
from listeners.redis.subscriptions.cluster_subscription import ClusterSubscription
from listeners.redis.subscriptions.shared import SharedSubscriptions
from listeners.redis.subscriptions.subscription import Message, Subscription

__all__ = ["Receiver"]


class Receiver:
    """Subscribes to the trigger's channel and to `notices`, on the same connection, which keeps their order.

    Other triggers of the process share the connection. `on_message` gets every message and returns whether functions
    need a turn before the next one. `on_end` is called when the server or the network ends the connection,
    `on_disconnect` when this side ends the subscription.
    """

    def __init__(
        self,
        trigger: PubSubTrigger,
        subscriptions: SharedSubscriptions,
        notices: str | None,
        *,
        on_message: Callable[[Message], bool],
        on_end: Callable[[], object],
        on_disconnect: Callable[[], object],
    ) -> None:
        self._trigger = trigger
        self._subscriptions = subscriptions
        self._notices = notices
        self._on_message = on_message
        self._on_end = on_end
        self._on_disconnect = on_disconnect
        self._subscription: Subscription | None = None

    @property
    def is_subscribed(self) -> bool:
        """Whether the trigger's channel is subscribed to."""
        return self._subscription is not None and self._subscription.is_subscribed(self._trigger.channel)

    @property
    def follow_seconds(self) -> float:
        """How often check() must be called to follow the topology."""
        return self._subscription.follow_seconds if self._subscription else math.inf

    async def connect(self) -> Subscription:
        """Connect if needed, and receive notices. A connection that has ended is replaced. Raises SourceError."""
        if self._subscription is not None and self._subscription.ended:
            await self.disconnect()
        if self._subscription is None:
            self._subscription = await self._open()
        if self._notices is not None and not self._subscription.is_subscribed(self._notices):
            async with self._disconnecting_on_error():
                await self._subscription.add(self._notices)
        return self._subscription

    async def subscribe(self, on_confirmed: Callable[[], object] | None = None) -> None:
        """Subscribe to the trigger's channel if needed. Raises SourceError.

        `on_confirmed` is called before the first message and after the last one of an earlier subscription.
        """
        subscription = await self.connect()
        if not subscription.is_subscribed(self._trigger.channel):
            async with self._disconnecting_on_error():
                await subscription.add(self._trigger.channel, pattern=self._trigger.is_pattern, then=on_confirmed)

    async def unsubscribe(self) -> None:
        """Unsubscribe from the trigger's channel, and keep receiving notices. Raises SourceError."""
        if self._subscription is not None:
            async with self._disconnecting_on_error():
                await self._subscription.remove(self._trigger.channel, pattern=self._trigger.is_pattern)

    async def wait_for(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait for an event that a message will set, at most `seconds`. Return whether it is set."""
        return await self._subscription.wait_for(event, seconds) if self._subscription else event.is_set()

    async def catch_up(self) -> None:
        """Wait until everything has been received that was published before this call. Raises SourceError."""
        if self._subscription is not None:
            await self._subscription.catch_up()

    async def check(self, pause_seconds: float) -> None:
        """Check that the connection is alive, and follow the topology. Call it every `pause_seconds`."""
        if self._subscription is not None:
            async with self._disconnecting_on_error():
                await self._subscription.check_alive(pause_seconds)
            await self._subscription.follow_topology()

    def raise_if_ended(self) -> None:
        """Raise the SourceError with which the connection ended, if it has ended."""
        if self._subscription is not None:
            self._subscription.raise_if_ended()

    async def disconnect(self) -> None:
        """End the subscription: no message arrives afterwards."""
        self._on_disconnect()
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.close()

    async def _open(self) -> Subscription:
        """Return an empty subscription. Keyspace notifications of a cluster need every primary."""
        if await self._subscriptions.is_cluster() and is_keyspace_channel(self._trigger.channel):
            return ClusterSubscription(self._subscriptions, self._on_message, self._on_end)
        return await self._subscriptions.open(self._trigger.channel, self._on_message, self._on_end)

    @contextlib.asynccontextmanager
    async def _disconnecting_on_error(self) -> AsyncIterator[None]:
        try:
            yield
        except BaseException:
            await self.disconnect()
            raise
