"""A subscription over one connection: reads messages in the server's order and detects that the connection is lost."""

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from redis.asyncio.client import PubSub

from listeners.errors import SourceError, SourceTimeoutError, SourceUnavailableError
from listeners.redis.error_translation import translated
from listeners.redis.subscriptions.subscription import Message, Subscription
from listeners.runtime.clock import boot_seconds
from listeners.runtime.tasks import cancel_until_done, raise_if_cancelled
from listeners.text import decode

__all__ = ["NodeSubscription"]

#: How long the server may take to confirm a subscription.
CONFIRM_SECONDS = 2.0
#: A subscription that has received nothing for this long, not even a reply to a ping, is considered dead.
SILENCE_SECONDS = 10.0
MAX_WAIT_SECONDS = 1.0
#: A ping that takes longer than this is queued behind messages in the server.
BEHIND_SECONDS = 1.0
#: How many messages are read before other tasks run.
MESSAGES_PER_TURN = 50


class NodeSubscription(Subscription):
    """Passes each message that `redis` receives to `on_message`, in order, and calls `on_end` when reading ends.

    `on_message` returns whether other tasks must run before the next message, because many messages are queued.

    Unlike redis-py, it never reconnects a lost connection: messages published meanwhile are missing, and the owner of
    the subscription must notice.
    """

    def __init__(self, redis: PubSub, on_message: Callable[[Message], bool], on_end: Callable[[], object]) -> None:
        self._redis = redis
        self._on_message = on_message
        self._on_end = on_end
        self._reader: asyncio.Task[None] | None = None
        self._confirmed: dict[str, asyncio.Event] = {}
        self._then: dict[str, Callable[[], object]] = {}
        self._received_at = boot_seconds()
        self._pinged_at: float | None = None
        self.follow_seconds = math.inf

    @property
    def ended(self) -> bool:
        """Whether reading has ended. raise_if_ended() raises the reason."""
        return self._reader is not None and self._reader.done()

    async def add(self, *channels: str, pattern: bool = False, then: Callable[[], object] | None = None) -> None:
        """Subscribe to one or more further channels or patterns. Returns once the server confirms. Raises SourceError.

        `then` is called for each channel, before its first message and after the last message of an earlier
        subscription to it.
        """
        for channel in channels:
            self._confirmed[channel] = asyncio.Event()
            self._then[channel] = then or _no_op
        doing = f"subscribing to {_described(channels)}"
        with translated(doing):
            await (self._redis.psubscribe if pattern else self._redis.subscribe)(*channels)
        if self._reader is None:
            self._reader = asyncio.create_task(self._read(), name=f"subscription to {channels[0]}")
            self._reader.add_done_callback(self._reader_ended)
        # The server confirms the channels in order.
        if not await self.wait_for(self._confirmed[channels[-1]], CONFIRM_SECONDS):
            self.raise_if_ended()
            raise SourceTimeoutError(f"{doing}: no answer in time")

    async def remove(self, *channels: str, pattern: bool = False) -> None:
        """Unsubscribe. Messages in transit may still arrive. Raises SourceError."""
        for channel in channels:
            self._confirmed.pop(channel, None)
            self._then.pop(channel, None)
        with translated(f"unsubscribing from {_described(channels)}"):
            await (self._redis.punsubscribe if pattern else self._redis.unsubscribe)(*channels)

    async def wait_for(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait for an event that a message will set, until reading ends or for `seconds`. Return whether it is set."""
        if self._reader is not None and not event.is_set():
            waiting = asyncio.create_task(event.wait())
            await asyncio.wait([waiting, self._reader], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
        return event.is_set()

    def is_subscribed(self, channel: str) -> bool:
        """Return whether this channel or pattern was added."""
        return channel in self._confirmed

    def raise_if_ended(self) -> None:
        """Raise the SourceError with which reading ended, if it has ended."""
        if self._reader is not None and self._reader.done() and not self._reader.cancelled():
            self._reader.result()

    async def check_alive(self, pause_seconds: float) -> None:
        """Send a ping. Call it every `pause_seconds`. Raises SourceError if the connection has gone silent."""
        if boot_seconds() - self._received_at > max(SILENCE_SECONDS, 2 * pause_seconds):
            raise SourceTimeoutError("the subscription went silent")
        self._pinged_at = self._pinged_at or boot_seconds()
        with _reconnects_translated("checking the subscription"):
            await self._redis.ping()

    async def follow_topology(self) -> None:
        """Do nothing: a single connection has no topology."""

    async def close(self) -> None:
        """Close the connection, which ends all subscriptions."""
        if self._reader is not None:
            await cancel_until_done([self._reader], MAX_WAIT_SECONDS)
        with contextlib.suppress(SourceError), translated("unsubscribing"):
            await self._redis.aclose()

    async def _read(self) -> None:
        """Read messages from the connection directly; redis-py's handling of each takes longer than all the rest."""
        read = 0
        while True:
            connection = self._redis.connection
            if connection is None:
                raise SourceUnavailableError("listening: the connection was closed")
            with _reconnects_translated("listening"):
                while read < MESSAGES_PER_TURN:
                    # No timeout: check_alive() detects silence, and asyncio's timeout costs as much as the read.
                    reply = await connection.read_response(timeout=math.inf)
                    read = MESSAGES_PER_TURN if self._handle(reply) else read + 1
            read = 0
            raise_if_cancelled()
            self._received_at = boot_seconds()
            if not self._is_behind():
                # Other tasks run now, and a burst waits in the server's output buffer, which has more room than the
                # message queue. Not while behind: the server closes a connection whose buffer exceeds its limit.
                await asyncio.sleep(0)

    def _handle(self, reply: Any) -> bool:
        """Process one reply. Return whether other tasks must run now."""
        kind = reply[0] if isinstance(reply, list) else b"pong"
        if kind == b"message":
            return self._on_message(Message(reply[1], reply[2]))
        if kind == b"pmessage":
            return self._on_message(Message(reply[2], reply[3], reply[1]))
        self._received_at = boot_seconds()
        if kind in {b"subscribe", b"psubscribe"}:
            self._confirm(decode(reply[1]))
        elif kind == b"pong":
            self._pinged_at = None
        return True

    def _reader_ended(self, reader: asyncio.Task[None]) -> None:
        if not reader.cancelled():
            reader.exception()  # otherwise asyncio logs it if it is never retrieved
        self._on_end()

    def _is_behind(self) -> bool:
        return self._pinged_at is not None and self._received_at - self._pinged_at > BEHIND_SECONDS

    def _confirm(self, channel: str) -> None:
        confirmed = self._confirmed.get(channel)
        if confirmed is not None and confirmed.is_set():
            raise SourceUnavailableError(f"the connection was lost while listening to {channel!r}")
        if confirmed is not None:
            confirmed.set()
            self._then[channel]()


@contextlib.contextmanager
def _reconnects_translated(doing: str) -> Iterator[None]:
    """Translate errors, including the RuntimeError that follows when redis-py reconnects while the reader reads."""
    try:
        with translated(doing):
            yield
    except RuntimeError as error:
        raise SourceUnavailableError(f"{doing}: the connection was lost ({error})") from error


def _described(channels: Sequence[str]) -> str:
    """Return the channels for an error message."""
    more = f" and {len(channels) - 1} more" if len(channels) > 1 else ""
    return f"{channels[0]!r}{more}"


def _no_op() -> None:
    """Do nothing when a subscription is confirmed."""
