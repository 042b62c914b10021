"""One connection that is subscribed: reads messages in the order of the server, and notices when it is lost."""

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from redis.asyncio.client import PubSub

from listeners.errors import SourceError, SourceTimeoutError, SourceUnavailableError
from listeners.redis.error_translation import translated
from listeners.redis.subscription import Message, Subscription
from listeners.runtime.clock import boot_seconds
from listeners.runtime.tasks import cancel_until_done, raise_if_cancelled
from listeners.text import decode

__all__ = ["NodeSubscription"]

#: How long the server may take to confirm a subscription.
CONFIRM_SECONDS = 2.0
#: A subscription that is silent for so long, its pings included, is taken for dead.
SILENCE_SECONDS = 10.0
MAX_WAIT_SECONDS = 1.0
#: A ping whose answer is not there after so long stands behind messages that wait in the server.
BEHIND_SECONDS = 1.0
#: After so many messages everything else gets its turn.
TURN_MESSAGES = 50


class NodeSubscription(Subscription):
    """Hands each message that `redis` gets to `on_message`, in order; calls `on_end` if reading ends without close().

    `on_message` says whether functions need their turn before the next one, as many messages wait for them.

    A connection that was lost is never made anew here, as redis-py would: what was published meanwhile is missing,
    and the one that uses the subscription must know.
    """

    def __init__(self, redis: PubSub, on_message: Callable[[Message], bool], on_end: Callable[[], object]) -> None:
        self._redis = redis
        self._on_message = on_message
        self._on_end = on_end
        self._reader: asyncio.Task[None] | None = None
        self._confirmed: dict[str, asyncio.Event] = {}
        self._then: dict[str, Callable[[], object]] = {}
        self._heard_at = boot_seconds()
        self._pinged_at: float | None = None
        self.follow_seconds = math.inf

    @property
    def ended(self) -> bool:
        """Whether reading has ended; raise_if_ended() tells why."""
        return self._reader is not None and self._reader.done()

    async def add(self, *channels: str, pattern: bool = False, then: Callable[[], object] | None = None) -> None:
        """Subscribe to channels or patterns too, one or more. Returns when their messages come. Raises SourceError.

        `then` is called for each, before the first of its messages, and after the last of an earlier subscription to
        the same channel.
        """
        for channel in channels:
            self._confirmed[channel] = asyncio.Event()
            self._then[channel] = then or _nothing
        doing = f"subscribing to {_named(channels)}"
        with translated(doing):
            await (self._redis.psubscribe if pattern else self._redis.subscribe)(*channels)
        if self._reader is None:
            self._reader = asyncio.create_task(self._read(), name=f"subscription to {channels[0]}")
            self._reader.add_done_callback(self._reader_ended)
        # The server confirms one after the other.
        if not await self.wait_for(self._confirmed[channels[-1]], CONFIRM_SECONDS):
            self.raise_if_ended()
            raise SourceTimeoutError(f"{doing}: no answer in time")

    async def remove(self, *channels: str, pattern: bool = False) -> None:
        """Unsubscribe. Messages that are on their way may still come. Raises SourceError."""
        for channel in channels:
            self._confirmed.pop(channel, None)
            self._then.pop(channel, None)
        with translated(f"unsubscribing from {_named(channels)}"):
            await (self._redis.punsubscribe if pattern else self._redis.unsubscribe)(*channels)

    async def wait_for(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait for something that a message will set, as long as reading goes on; whether it was set."""
        if self._reader is not None and not event.is_set():
            waiting = asyncio.create_task(event.wait())
            await asyncio.wait([waiting, self._reader], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
        return event.is_set()

    def is_subscribed(self, channel: str) -> bool:
        """Whether it is subscribed to this."""
        return channel in self._confirmed

    def raise_if_ended(self) -> None:
        """Raise the SourceError with which reading ended, if it did."""
        if self._reader is not None and self._reader.done() and not self._reader.cancelled():
            self._reader.result()

    async def check_alive(self, pause_seconds: float) -> None:
        """Send a ping, which is called for every `pause_seconds`. Raises SourceError if nothing answered the last."""
        if boot_seconds() - self._heard_at > max(SILENCE_SECONDS, 2 * pause_seconds):
            raise SourceTimeoutError("the subscription went silent")
        self._pinged_at = self._pinged_at or boot_seconds()
        with _not_mended("checking the subscription"):
            await self._redis.ping()

    async def follow_topology(self) -> None:
        """Nothing: one connection stays where it is."""

    async def close(self) -> None:
        """Close the connection, which ends all subscriptions at once."""
        if self._reader is not None:
            await cancel_until_done([self._reader], MAX_WAIT_SECONDS)
        with contextlib.suppress(SourceError), translated("unsubscribing"):
            await self._redis.aclose()

    async def _read(self) -> None:
        """Read from the connection itself: what redis-py does around each message takes longer than the rest."""
        read = 0
        while True:
            connection = self._redis.connection
            if connection is None:
                raise SourceUnavailableError("listening: the connection was closed")
            with _not_mended("listening"):
                while read < TURN_MESSAGES:
                    # No bound: check_alive() notices what is silent, and asyncio's would cost as much as the reading.
                    answer = await connection.read_response(timeout=math.inf)
                    read = TURN_MESSAGES if self._handle(answer) else read + 1
            read = 0
            raise_if_cancelled()
            self._heard_at = boot_seconds()
            if not self._is_behind():
                # Functions get their turn: a burst then waits in the server's buffer for this connection, where there
                # is room for more than in our queue. For long it must not: the server would cut the connection.
                await asyncio.sleep(0)

    def _handle(self, answer: Any) -> bool:
        """Take notice of one answer; whether others get their turn now."""
        kind = answer[0] if isinstance(answer, list) else b"pong"
        if kind == b"message":
            return self._on_message(Message(answer[1], answer[2]))
        if kind == b"pmessage":
            return self._on_message(Message(answer[2], answer[3], answer[1]))
        self._heard_at = boot_seconds()
        if kind in {b"subscribe", b"psubscribe"}:
            self._confirm(decode(answer[1]))
        elif kind == b"pong":
            self._pinged_at = None
        return True

    def _reader_ended(self, reader: asyncio.Task[None]) -> None:
        if not reader.cancelled():
            reader.exception()  # or asyncio would log it, if nobody asks why reading ended
        self._on_end()

    def _is_behind(self) -> bool:
        return self._pinged_at is not None and self._heard_at - self._pinged_at > BEHIND_SECONDS

    def _confirm(self, channel: str) -> None:
        confirmed = self._confirmed.get(channel)
        if confirmed is not None and confirmed.is_set():
            raise SourceUnavailableError(f"the connection was lost while listening to {channel!r}")
        if confirmed is not None:
            confirmed.set()
            self._then[channel]()


@contextlib.contextmanager
def _not_mended(doing: str) -> Iterator[None]:
    """Raise a SourceError for what redis-py raises, also for what comes of its connecting anew behind the reader."""
    try:
        with translated(doing):
            yield
    except RuntimeError as error:
        raise SourceUnavailableError(f"{doing}: the connection was lost ({error})") from error


def _named(channels: Sequence[str]) -> str:
    """The channels as an error names them."""
    more = f" and {len(channels) - 1} more" if len(channels) > 1 else ""
    return f"{channels[0]!r}{more}"


def _nothing() -> None:
    """What to do then, if nothing."""
