"""A connection with client tracking: reads, and reports of changed keys."""

from collections.abc import Callable, Sequence
from typing import Any

import hiredis

from listeners.errors import SourceError, SourceTimeoutError, SourceUnavailableError
from listeners.redis.dialer import DialedConnection
from listeners.redis.error_translation import translate, translated
from listeners.redis.pipeline import Pipeline
from listeners.text import decode

__all__ = ["WatchConnection"]

#: The most commands without a reply: a client that asks faster than it reads would make the server keep the replies.
MAX_OUTSTANDING = 5_000
#: The longest reply. Expected replies are numbers, and the description of a server.
MAX_REPLY_BYTES = 4 * 1024 * 1024


class WatchConnection:
    """Calls `on_change` with each key that the server reports, or None for all keys, and `on_end` when it is closed.

    Only for reads with short replies. A write would put reports between the replies of a transaction (Redis 6.0), and
    would not be reported to the writer with NOLOOP. `redis` is a connection of redis-py that speaks RESP3 and is not
    connected yet. The server has `answer_seconds` for a reply.
    """

    def __init__(
        self,
        redis: DialedConnection,
        answer_seconds: float,
        on_change: Callable[[str | None], object],
        on_end: Callable[[SourceError], object],
    ) -> None:
        self._redis = redis
        self._answer_seconds = answer_seconds
        self._on_change = on_change
        self._on_end = on_end
        self._pipeline: Pipeline | None = None
        self._ended: SourceError | None = None

    async def open(self) -> None:
        """Connect and turn tracking on. Raises SourceError."""
        with translated("connecting with RESP3"):
            await self._redis.connect()
        self._pipeline = Pipeline(
            self._redis,
            self._answer_seconds,
            lambda error: self.end(translate(error, "watching keys")),
            on_push=self._receive,
            max_reply_bytes=MAX_REPLY_BYTES,
        )
        [tracking] = await self.ask([("CLIENT", "TRACKING", "ON")])
        if isinstance(tracking, Exception):
            raise translate(tracking, "CLIENT TRACKING ON")

    @property
    def address(self) -> tuple[str, int]:
        """The host and port that it is connected to; behind Sentinels, those of the primary."""
        return self._pipeline.address if self._pipeline is not None else ("", 0)

    @property
    def expired(self) -> bool:
        """Whether its credentials are to be renewed, for which it must be replaced."""
        return self._redis.expired

    @property
    def waiting_seconds(self) -> float:
        """For how long the server has answered nothing that it was asked."""
        return self._pipeline.waiting_seconds if self._pipeline is not None else 0.0

    async def ask(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return the replies to commands that only read. An error reply is returned.

        Raises SourceError if the connection ends.
        """
        if self._ended is not None:
            raise type(self._ended)(str(self._ended))
        if self._pipeline is None:
            raise RuntimeError("call open() first")
        if self._pipeline.missing_replies + len(commands) > MAX_OUTSTANDING:
            raise SourceTimeoutError(f"watching keys: {self._pipeline.missing_replies} commands have no reply yet")
        with translated("watching keys"):
            return await self._pipeline.send(b"".join(map(hiredis.pack_command, commands)), len(commands))

    async def close(self) -> None:
        """Close the connection."""
        self.end(SourceUnavailableError("watching keys: the connection was closed"))
        await self._redis.disconnect(nowait=True)

    def end(self, error: SourceError) -> None:
        """Close the connection. Calls without a reply fail."""
        if self._ended is not None:
            return
        self._ended = error
        if self._pipeline is not None:
            self._pipeline.abort()
        self._on_end(error)

    def _receive(self, message: list[Any]) -> None:
        match message:
            case [b"invalidate", None]:
                self._on_change(None)
            case [b"invalidate", [*keys]] if all(isinstance(key, bytes) for key in keys):
                for key in keys:
                    self._on_change(decode(key))
            case [b"invalidate", *_]:
                raise ValueError("a report of changes without keys")
