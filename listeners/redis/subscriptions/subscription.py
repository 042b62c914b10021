"""The interface of subscriptions, to one server or to every primary of a cluster."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol

__all__ = ["MAX_CHANNELS", "Message", "Subscription"]

#: The most channels that one command subscribes to.
MAX_CHANNELS = 500


class Message(NamedTuple):
    """A message as it was published. `pattern` is the pattern that it matched, if it was received through one."""

    channel: bytes
    data: bytes
    pattern: bytes | None = None


class Subscription(Protocol):
    """Passes on the messages of channels and patterns in the server's order. Methods may raise SourceError."""

    #: How often follow_topology() should be called, in seconds.
    follow_seconds: float

    @property
    def ended(self) -> bool:
        """Whether the connection was lost or closed."""
        ...

    async def add(self, *channels: str, pattern: bool = False, then: Callable[[], object] | None = None) -> None:
        """Subscribe to more channels or patterns. `then` is called for each channel when the server confirms it."""
        ...

    async def remove(self, *channels: str, pattern: bool = False) -> None:
        """Unsubscribe. No message arrives afterwards."""
        ...

    def is_subscribed(self, channel: str) -> bool:
        """Return whether this channel or pattern was added."""
        ...

    async def wait_for(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait for an event that a message will set, at most `seconds`. Return whether it is set."""
        ...

    async def catch_up(self) -> None:
        """Wait until all messages are passed on that the server published before this call."""
        ...

    def raise_if_ended(self) -> None:
        """Raise the SourceError with which reading ended, if it has ended."""
        ...

    async def check_alive(self, pause_seconds: float) -> None:
        """Ping the server. Call it every `pause_seconds`. Raises SourceError if the connection has gone silent."""
        ...

    async def follow_topology(self) -> None:
        """Subscribe at nodes that have become primaries, and drop nodes that no longer are."""
        ...

    async def close(self) -> None:
        """End the subscription at once. No message arrives afterwards."""
        ...
