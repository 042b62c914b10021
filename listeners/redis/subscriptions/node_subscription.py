"""A subscription at one server, over the connection that all subscriptions there share."""

import asyncio
import math
from collections.abc import Callable, Sequence

from listeners.redis.subscriptions.connection import SubscribedConnection
from listeners.redis.subscriptions.subscription import Message, Subscription
from listeners.redis.subscriptions.topics import Subscriber

__all__ = ["NodeSubscription"]


class NodeSubscription(Subscription):
    """Passes each message of its channels and patterns to `on_message`, in the server's order.

    `on_message` returns whether other tasks must run before the next message, because many messages are queued.
    `on_end` is called when the connection ends. It is not replaced: messages published meanwhile are missing, and the
    owner of the subscription must notice.
    """

    def __init__(
        self, connection: SubscribedConnection, on_message: Callable[[Message], bool], on_end: Callable[[], object]
    ) -> None:
        self._connection = connection
        self._subscriber = Subscriber(on_message, on_end)
        self._added: set[str] = set()
        self.follow_seconds = math.inf
        connection.join(self._subscriber)

    @property
    def ended(self) -> bool:
        """Whether the connection was lost or closed. raise_if_ended() raises the reason."""
        return self._connection.ended

    async def add(self, *channels: str, pattern: bool = False, then: Callable[[], object] | None = None) -> None:
        """Subscribe to one or more further channels or patterns. Returns once the server confirms.

        `then` is called for each channel, before its first message and after the last message of an earlier
        subscription to it. Raises SourceError; close the subscription then. It does not affect others at the server.
        """
        self._added.update(channels)
        doing = f"subscribing to {_described(channels)}"
        await self._connection.subscribe(
            self._subscriber, _encoded(channels), pattern=pattern, then=then or _no_op, doing=doing
        )

    async def remove(self, *channels: str, pattern: bool = False) -> None:
        """Unsubscribe. No message arrives afterwards. Raises SourceError."""
        self._added.difference_update(channels)
        doing = f"unsubscribing from {_described(channels)}"
        await self._connection.unsubscribe(self._subscriber, _encoded(channels), pattern=pattern, doing=doing)

    async def wait_for(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait for an event that a message will set, until reading ends or for `seconds`. Return whether it is set."""
        return await self._connection.wait_for(event, seconds)

    async def catch_up(self) -> None:
        """Wait until all messages are passed on that the server published before this call. Raises SourceError."""
        await self._connection.catch_up()

    def is_subscribed(self, channel: str) -> bool:
        """Return whether this channel or pattern was added."""
        return channel in self._added

    def raise_if_ended(self) -> None:
        """Raise the SourceError with which reading ended, if it has ended."""
        self._connection.raise_if_ended()

    async def check_alive(self, pause_seconds: float) -> None:
        """Ping the server, once for all of its subscriptions. Call it every `pause_seconds`.

        Raises SourceError if the connection has gone silent.
        """
        await self._connection.check_alive(pause_seconds)

    async def follow_topology(self) -> None:
        """Do nothing: a single connection has no topology."""

    async def close(self) -> None:
        """End this subscription at once, and close the connection if no other shares it."""
        self._added.clear()
        await self._connection.leave(self._subscriber)


def _encoded(channels: Sequence[str]) -> list[bytes]:
    return [channel.encode("utf-8", "surrogateescape") for channel in channels]


def _described(channels: Sequence[str]) -> str:
    """Return the channels for an error message."""
    more = f" and {len(channels) - 1} more" if len(channels) > 1 else ""
    return f"{channels[0]!r}{more}"


def _no_op() -> None:
    """Do nothing when a subscription is confirmed."""
