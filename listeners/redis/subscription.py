"""What pub/sub and push need of a subscription, whether to one server or to every primary of a cluster."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol

__all__ = ["MAX_CHANNELS", "Message", "Subscription"]

#: Channels subscribed to in one command.
MAX_CHANNELS = 500


class Message(NamedTuple):
    """A message as it was published. `pattern` is the pattern that it matched, if it came by one."""

    channel: bytes
    data: bytes
    pattern: bytes | None = None


class Subscription(Protocol):
    """Channels and patterns whose messages are passed on in the server's order. Methods may raise SourceError."""

    #: How often follow_topology() should be called, in seconds.
    follow_seconds: float

    @property
    def ended(self) -> bool:
        """Whether the connection was lost, or closed."""
        ...

    async def add(self, *channels: str, pattern: bool = False, then: Callable[[], object] | None = None) -> None:
        """Subscribe to channels or patterns too. `then` is called for each once the server confirms it."""
        ...

    async def remove(self, *channels: str, pattern: bool = False) -> None:
        """Unsubscribe. Messages that are on their way may still arrive."""
        ...

    def is_subscribed(self, channel: str) -> bool:
        """Whether this channel or pattern was added."""
        ...

    async def wait_for(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait for an event that a message will set. Returns whether it is set."""
        ...

    def raise_if_ended(self) -> None:
        """Raise the SourceError that reading ended with, if it has ended."""
        ...

    async def check_alive(self, pause_seconds: float) -> None:
        """Send a ping; call it every `pause_seconds`. Raises SourceError if the last one was not answered."""
        ...

    async def follow_topology(self) -> None:
        """Subscribe at nodes that have become primaries, and drop those that no longer are."""
        ...

    async def close(self) -> None:
        """Close the connections, which ends all subscriptions at once."""
        ...
