"""One connection with many outstanding calls, whose replies come in the order of the calls."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError

from listeners.redis.dialer import DialedConnection, parse_error
from listeners.redis.reply_bounds import ArrayBound

__all__ = ["MAX_CALLS", "Pipeline"]

#: Calls are written in groups of so many, or whatever there is at the end of a turn of the event loop. Larger groups
#: save system calls, but the server would wait while the client prepares them.
CALLS_PER_WRITE = 4
#: How many calls may be outstanding.
MAX_CALLS = 256
#: How long a reply may take in all while bytes keep arriving, as over a slow link.
MAX_REPLY_SECONDS = 60.0
#: After a larger reply, the buffer is freed: hiredis keeps one as large as its largest reply.
LARGE_BYTES = 1024 * 1024
#: How much of what has arrived is examined at once, before it is parsed, if the server is not trusted.
BUDGETED_BYTES = 32 * 1024
NOTHING = object()


class _Call:
    """Commands that were sent together, and their replies so far."""

    __slots__ = ("future", "missing", "replies")

    def __init__(self, number: int, future: "asyncio.Future[list[Any]]") -> None:
        self.missing = number
        self.future = future
        self.replies: list[Any] = []


class Pipeline(asyncio.Protocol):
    """Sends calls over an open connection whose handshake is complete.

    The connection is closed and all outstanding calls fail if the server answers nothing for `timeout_seconds`, or
    sends something that is no reply. With `max_reply_bytes`, also if a single reply is longer, or has an array of
    100,000 elements or more. `on_close` is then called with the error. `on_push` receives what a server sends without
    being asked (RESP3), in the order of the replies; it raises ValueError for what it cannot read.
    """

    def __init__(
        self,
        connection: DialedConnection,
        timeout_seconds: float,
        on_close: Callable[[Exception], object],
        *,
        on_push: Callable[[list[Any]], object] | None = None,
        max_reply_bytes: float = math.inf,
    ) -> None:
        self._connection = connection
        self._timeout_seconds = timeout_seconds
        self._on_close = on_close
        self._on_push = on_push
        self._max_reply_bytes = max_reply_bytes
        self._arrays = ArrayBound() if max_reply_bytes < math.inf else None
        self._loop = asyncio.get_running_loop()
        self._reconnect_at = connection.reconnect_at
        #: The host and port that it leads to.
        self.address = getattr(connection, "host", ""), getattr(connection, "port", 0)
        self._budget = connection.dialer.replies
        self._calls: deque[_Call] = deque()
        self._unsent: list[bytes] = []
        self._room = asyncio.Event()
        self._room.set()
        self._can_write = True
        self._retired = False
        self._lost: Exception | None = None
        self._is_closed = False
        #: When the server last made progress: a call was sent to the idle connection, or its reply was complete.
        self._progress_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        #: How many bytes have arrived: now, at the last check of progress, and when the last reply was complete.
        self._received = self._received_at_check = self._received_at_reply = 0
        #: How many commands have no reply yet.
        self.missing_replies = 0
        self._new_reader()
        self._transport = connection.transport
        self._stream_protocol = self._transport.get_protocol()
        self._transport.set_protocol(self)
        if connection.has_ended:  # between the last reply of its handshake and now: this protocol is not told
            self._fail(RedisConnectionError("the connection was lost"))
            self._transport.abort()
            self._loop.call_soon(self.connection_lost, None)

    @property
    def calls(self) -> int:
        """How many calls are outstanding."""
        return len(self._calls)

    @property
    def waiting_seconds(self) -> float:
        """For how long the server has made no progress with the outstanding calls."""
        return time.monotonic() - self._progress_at if self._calls else 0.0

    @property
    def is_open(self) -> bool:
        """Whether calls can be sent. Becomes False by itself when the connection's credentials have to be renewed."""
        return self._lost is None and not self._retired and time.monotonic() < self._reconnect_at

    @property
    def has_room(self) -> bool:
        """Whether another call may be outstanding."""
        return self._room.is_set()

    async def wait_for_room(self) -> None:
        """Wait until another call may be outstanding, or the connection is closed."""
        await self._room.wait()

    def send(self, packed: bytes, number: int) -> "asyncio.Future[list[Any]]":
        """Send `number` commands. Return their replies; those that were refused have the error as their reply."""
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        if self._lost is not None:
            future.set_exception(_copy(self._lost))
            return future
        self._calls.append(_Call(number, future))
        self.missing_replies += number
        self._unsent.append(packed)
        if len(self._calls) == 1:
            self._progress_at = time.monotonic()
            if self._timer is None:
                self._timer = self._loop.call_later(self._timeout_seconds, self._check_progress)
            if self._budget is not None:
                self._budget.begin(self._connection)
            self._write()
        elif len(self._unsent) >= CALLS_PER_WRITE:
            self._write()
        elif len(self._unsent) == 1:
            self._loop.call_soon(self._write)
        if len(self._calls) >= MAX_CALLS:
            self._room.clear()
        return future

    def retire(self) -> None:
        """Send nothing more, and close the connection once the outstanding calls are answered."""
        self._retired = True
        if not self._calls:
            self.abort()

    def abort(self, error: Exception | None = None) -> None:
        """Close the connection now. Outstanding calls fail with `error`."""
        if self._lost is None:
            self._fail(error or RedisConnectionError("the connection was closed"))
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Give replies to the calls that wait for them."""
        self._received += len(data)
        try:
            if self._arrays is not None:
                self._arrays.check(data)
            if self._budget is None:
                self._feed(data)
            else:
                for start in range(0, len(data), BUDGETED_BYTES):
                    part = data[start : start + BUDGETED_BYTES]
                    self._budget.add(self._connection, part)
                    self._feed(part)
            if self._received - self._received_at_reply > self._max_reply_bytes:
                raise InvalidResponse(f"a reply of more than {self._max_reply_bytes} bytes")
        except RedisError as error:
            self.abort(error)
            return
        if self._retired and not self._calls:
            self.abort()

    def eof_received(self) -> None:
        """Fail the outstanding calls; asyncio closes the transport."""
        self._fail(RedisConnectionError("the server closed the connection"))

    def connection_lost(self, error: Exception | None) -> None:
        """Fail the outstanding calls, and release the connection."""
        if self._is_closed:
            return
        self._is_closed = True
        self._fail(RedisConnectionError(f"the connection was lost: {error}" if error else "the connection was closed"))
        self._stream_protocol.connection_lost(error)  # redis-py may wait for it
        if self._lost is not None:
            self._on_close(self._lost)

    def pause_writing(self) -> None:
        """Accept no calls while the server does not read."""
        self._can_write = False
        self._room.clear()

    def resume_writing(self) -> None:
        """Accept calls again."""
        self._can_write = True
        self._update_room()

    def _write(self) -> None:
        if self._unsent and self._lost is None:
            unsent, self._unsent = self._unsent, []
            self._transport.write(unsent[0] if len(unsent) == 1 else b"".join(unsent))

    def _feed(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not NOTHING:
            self._has_large_buffer |= self._received - self._received_at_reply > LARGE_BYTES
            self._received_at_reply = self._received
            if isinstance(reply, hiredis.PushNotification) and self._on_push is not None:
                try:
                    self._on_push(reply)
                except ValueError as error:
                    raise InvalidResponse(str(error)) from error
            else:
                self._answer(reply)
            # Only right after a reply: a reader that has part of an array may have no data left either.
            if self._has_large_buffer and not self._reader.has_data():
                self._new_reader()

    def _answer(self, reply: Any) -> None:
        if not self._calls:
            raise InvalidResponse("the server sent a reply that nothing asked for")
        call = self._calls[0]
        call.replies.append(reply)
        call.missing -= 1
        self.missing_replies -= 1
        if call.missing > 0:
            return
        self._calls.popleft()
        self._progress_at = time.monotonic()
        if not call.future.done():
            call.future.set_result(call.replies)
        if not self._room.is_set():
            self._update_room()

    def _update_room(self) -> None:
        if self._can_write and len(self._calls) < MAX_CALLS:
            self._room.set()

    def _check_progress(self) -> None:
        """Close the connection if the server made no progress within the timeout, and no reply is arriving."""
        self._timer = None
        if not self._calls or self._lost is not None:
            return
        now = time.monotonic()
        due_at = self._progress_at + self._timeout_seconds
        if now >= due_at:
            arriving = self._received > self._received_at_check
            if not arriving or now >= self._progress_at + MAX_REPLY_SECONDS:
                self.abort(TimeoutError(f"no answer within {self._timeout_seconds:g} s"))
                return
            due_at = now + self._timeout_seconds
        self._received_at_check = self._received
        self._timer = self._loop.call_later(max(due_at - now, 0.001), self._check_progress)

    def _fail(self, error: Exception) -> None:
        if self._lost is not None:
            return
        self._lost = error
        if self._timer is not None:
            self._timer.cancel()
        calls, self._calls = self._calls, deque()
        for call in calls:
            if not call.future.done():
                call.future.set_exception(_copy(error))
                call.future.exception()  # counts as retrieved, as its caller may be cancelled at this moment
        self._room.set()

    def _new_reader(self) -> None:
        self._has_large_buffer = False
        self._reader = hiredis.Reader(protocolError=InvalidResponse, replyError=parse_error, notEnoughData=NOTHING)


def _copy(error: Exception) -> Exception:
    """Return an error for one of several calls, as each adds its own traceback."""
    return type(error)(*error.args)
