"""A connection with client tracking: replies in order, and reports of changed keys."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import hiredis

from listeners.errors import CommandRefusedError, SourceError, SourceTimeoutError, SourceUnavailableError
from listeners.redis.error_translation import TRANSLATED, translate, translated
from listeners.runtime.tasks import cancel_until_done
from listeners.text import decode

__all__ = ["WatchConnection"]

#: The most commands without a reply: a client that asks faster than it reads would make the server keep the replies.
MAX_OUTSTANDING = 5_000
#: The longest incomplete reply that is kept. Expected replies are numbers, and the description of a server.
MAX_REPLY_BYTES = 4 * 1024 * 1024
READ_BYTES = 64 * 1024
CLOSE_SECONDS = 1.0
_INCOMPLETE = object()


class _Exchange:
    """Commands that were sent together, and their replies so far."""

    __slots__ = ("done", "left", "replies", "sent_at")

    def __init__(self, commands: int) -> None:
        self.sent_at = time.monotonic()
        self.left = commands
        self.replies: list[Any] = []
        self.done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()


class WatchConnection:
    """Calls `on_change` with each key that the server reports, or None for all keys, and `on_end` when it is closed.

    Only for reads with short replies. A write would put reports between the replies of a transaction (Redis 6.0), and
    would not be reported to the writer with NOLOOP. `redis` is a connection of redis-py that speaks RESP3 and is not
    connected yet. A reply that nobody waits for any more is read and dropped.
    """

    def __init__(
        self, redis: Any, on_change: Callable[[str | None], object], on_end: Callable[[SourceError], object]
    ) -> None:
        self._redis = redis
        self._on_change = on_change
        self._on_end = on_end
        self._exchanges: deque[_Exchange] = deque()
        self._outstanding = 0
        self._reading: asyncio.Task[None] | None = None
        self._ended: SourceError | None = None

    async def open(self) -> None:
        """Connect and turn tracking on. Raises SourceError."""
        with translated("connecting with RESP3"):
            await self._redis.connect()
        self._reading = asyncio.create_task(self._read(), name="watch connection")
        [tracking] = await self.ask([("CLIENT", "TRACKING", "ON")])
        if isinstance(tracking, Exception):
            raise translate(tracking, "CLIENT TRACKING ON")

    @property
    def address(self) -> tuple[str, int]:
        """The host and port that it is connected to; behind Sentinels, those of the primary."""
        return getattr(self._redis, "host", ""), getattr(self._redis, "port", 0)

    @property
    def expired(self) -> bool:
        """Whether its credentials are to be renewed, for which it must be replaced."""
        return bool(self._redis.expired)

    @property
    def waiting_seconds(self) -> float:
        """For how long the oldest command has had no reply."""
        return time.monotonic() - self._exchanges[0].sent_at if self._exchanges else 0.0

    async def ask(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return the replies to commands that only read. An error reply is returned.

        The caller bounds the wait. Raises SourceError if the connection ends.
        """
        if self._ended is not None:
            raise type(self._ended)(str(self._ended))
        if self._outstanding + len(commands) > MAX_OUTSTANDING:
            raise SourceTimeoutError(f"watching keys: {self._outstanding} commands have no reply yet")
        exchange = _Exchange(len(commands))
        self._exchanges.append(exchange)
        self._outstanding += len(commands)
        self._redis._writer.write(b"".join([hiredis.pack_command(command) for command in commands]))
        return await exchange.done

    async def close(self) -> None:
        """Close the connection."""
        self.end(SourceUnavailableError("watching keys: the connection was closed"))
        if self._reading is not None and self._reading is not asyncio.current_task():
            await cancel_until_done([self._reading], CLOSE_SECONDS)
        await self._redis.disconnect(nowait=True)

    def end(self, error: SourceError) -> None:
        """Stop using the connection. What waits for a reply gets the error."""
        if self._ended is not None:
            return
        self._ended = error
        writer = getattr(self._redis, "_writer", None)
        if writer is not None:
            writer.transport.abort()
        exchanges, self._exchanges = self._exchanges, deque()
        for exchange in exchanges:
            if not exchange.done.done():
                exchange.done.set_exception(error)
                exchange.done.exception()  # asyncio logs it otherwise if nobody waits any more
        self._on_end(error)

    async def _read(self) -> None:
        """Read until the connection ends. redis-py's own reading would need a reader for each reply."""
        try:
            await self._read_replies(self._redis._reader)
        except SourceError as error:
            self.end(error)
        except (*TRANSLATED, hiredis.HiredisError) as error:
            self.end(translate(error, "watching keys"))
        except (asyncio.CancelledError, GeneratorExit):
            self.end(SourceUnavailableError("watching keys: the connection was closed"))
            raise
        except Exception as error:  # noqa: BLE001  (a server may send anything)
            self.end(_unreadable(type(error).__name__))

    async def _read_replies(self, stream: asyncio.StreamReader) -> None:
        parser = hiredis.Reader(notEnoughData=_INCOMPLETE)
        incomplete = 0
        while received := await stream.read(READ_BYTES):
            parser.feed(received)
            incomplete += len(received)
            while (reply := parser.gets(False)) is not _INCOMPLETE:
                self._take(reply)
                incomplete = 0
            if incomplete > MAX_REPLY_BYTES:
                raise _unreadable(f"a reply of more than {MAX_REPLY_BYTES} bytes")
            await asyncio.sleep(0)  # a flood must not keep other tasks from running
        raise SourceUnavailableError("watching keys: the server closed the connection")

    def _take(self, reply: Any) -> None:
        """Process one reply or report, in the order in which they arrive."""
        if isinstance(reply, hiredis.PushNotification):
            if reply and reply[0] == b"invalidate":
                for key in (None,) if reply[1] is None else map(decode, reply[1]):
                    self._on_change(key)
            return
        if not self._exchanges:
            raise _unreadable("a reply to no command")
        exchange = self._exchanges[0]
        exchange.replies.append(reply)
        exchange.left -= 1
        self._outstanding -= 1
        if not exchange.left:
            self._exchanges.popleft()
            if not exchange.done.done():
                exchange.done.set_result(exchange.replies)


def _unreadable(what: str) -> CommandRefusedError:
    return CommandRefusedError(f"watching keys: unreadable reply from Redis: {what}")
