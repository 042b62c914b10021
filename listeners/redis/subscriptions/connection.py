"""A connection that several subscribers share: messages in the server's order, and replies in the order of commands."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import hiredis
from redis.asyncio import ConnectionPool
from redis.exceptions import ResponseError

from listeners.errors import SourceError, SourceTimeoutError, SourceUnavailableError
from listeners.redis.dialer import DialedConnection
from listeners.redis.error_translation import translate, translated
from listeners.redis.subscriptions.subscription import MAX_CHANNELS, Message
from listeners.redis.subscriptions.topics import Subscriber, Subscribing, Topics
from listeners.runtime.clock import boot_seconds
from listeners.runtime.tasks import cancel_until_done, raise_if_cancelled

__all__ = ["SubscribedConnection"]

#: How long the server may take to confirm a subscription while it sends nothing else.
CONFIRM_SECONDS = 2.0
#: A connection that receives nothing for this long although a command awaits its reply is considered dead.
SILENCE_SECONDS = 10.0
MAX_WAIT_SECONDS = 1.0
#: A reply that takes longer than this is queued behind messages in the server.
BEHIND_SECONDS = 1.0
#: How many messages are passed on before other tasks run, times the subscribers up to MAX_SHARES. Taking few messages
#: at once costs functions more. A message for several subscribers counts as several.
MESSAGES_PER_TURN = 50
MAX_SHARES = 10


class _Command:
    """A command that was sent. The server replies once for each channel, or with one error."""

    __slots__ = ("error", "missing", "replied", "reply", "sent_at", "subscribing")

    def __init__(self, reply: bytes, missing: int, subscribing: Subscribing | None) -> None:
        self.reply = reply
        self.missing = missing
        self.subscribing = subscribing
        self.sent_at = boot_seconds()
        self.replied = asyncio.Event()
        self.error: ResponseError | None = None


class SubscribedConnection:
    """Connects to the server of `pool` and passes each message to the subscribers of its channel or pattern.

    For each further subscriber of a channel, it subscribes again. That changes nothing in Redis, which confirms it in
    the order of the messages: the confirmation tells from which message on the subscriber gets them.

    The loss of the connection ends it for all subscribers. It never reconnects: messages published meanwhile are
    missing, and each subscriber must notice. A command that is refused concerns only the subscriber that needs it.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._subscribers: set[Subscriber] = set()
        self._channels, self._patterns = Topics(), Topics()
        #: Those without a reply, in the order in which they were sent.
        self._commands: deque[_Command] = deque()
        self._connection: DialedConnection | None = None
        self._opened = asyncio.Event()
        self._is_closed = False
        self._failure: SourceError | None = None
        self._received_at = self._pinged_at = -math.inf
        self._reader = asyncio.create_task(self._run(), name="subscriptions")
        self._reader.add_done_callback(self._reader_ended)

    @property
    def ended(self) -> bool:
        """Whether the connection was lost or closed. raise_if_ended() raises the reason."""
        return self._is_closed or self._failure is not None or self._reader.done()

    @property
    def lost(self) -> bool:
        """Whether the connection has ended, and not because it was closed."""
        return self._failure is not None or (self._reader.done() and not self._reader.cancelled())

    def join(self, subscriber: Subscriber) -> None:
        """Share the connection until leave()."""
        self._subscribers.add(subscriber)

    async def leave(self, subscriber: Subscriber) -> None:
        """Pass on nothing more to a subscriber. Close the connection when the last one leaves."""
        self._subscribers.discard(subscriber)
        channels, patterns = self._channels.remove(subscriber), self._patterns.remove(subscriber)
        if not self._subscribers:
            await self.close()
        elif self._is_open:  # otherwise all subscriptions have ended
            # If one of these is denied, the messages are ignored.
            self._send("UNSUBSCRIBE", channels)
            self._send("PUNSUBSCRIBE", patterns)

    async def subscribe(
        self, subscriber: Subscriber, names: Sequence[bytes], *, pattern: bool, then: Callable[[], object], doing: str
    ) -> None:
        """Subscribe to channels or patterns. Returns once the server confirms all. Raises SourceError.

        `then` is called for each, before its first message and after the last message of an earlier subscription.
        """
        await self.wait_for(self._opened, None)  # connecting has time limits
        self._raise_if_silent()
        self._raise_unless_open(doing)
        if subscriber in self._subscribers:
            topics = self._patterns if pattern else self._channels
            subscribing = Subscribing(subscriber, then)
            for name in names:
                topics.add(name, subscribing)
            commands = self._send("PSUBSCRIBE" if pattern else "SUBSCRIBE", names, subscribing)
            await self._wait_for_replies(commands, doing)
        if subscriber not in self._subscribers:
            raise SourceUnavailableError(f"{doing}: the subscription was closed")

    async def unsubscribe(self, subscriber: Subscriber, names: Sequence[bytes], *, pattern: bool, doing: str) -> None:
        """Pass on no messages of these channels or patterns any more. Returns once the server confirms.

        Raises SourceError.
        """
        unused = (self._patterns if pattern else self._channels).remove(subscriber, names)
        self._raise_unless_open(doing)
        await self._wait_for_replies(self._send("PUNSUBSCRIBE" if pattern else "UNSUBSCRIBE", unused), doing)

    async def wait_for(self, event: asyncio.Event, seconds: float | None) -> bool:
        """Wait for an event that a message will set, until reading ends or for `seconds`. Return whether it is set."""
        if not event.is_set() and not self._reader.done():
            waiting = asyncio.create_task(event.wait())
            try:
                await asyncio.wait([waiting, self._reader], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
        return event.is_set()

    async def catch_up(self) -> None:
        """Wait until all messages are passed on that the server published before this call: before it answers a ping.

        Raises SourceError.
        """
        self._raise_unless_open("listening")
        await self._wait_for_replies([self._ping()], "listening")

    def raise_if_ended(self, doing: str = "listening") -> None:
        """Raise the SourceError with which the connection ended, if it has ended."""
        if self._failure is not None:
            raise type(self._failure)(str(self._failure))
        if self._reader.done() and not self._reader.cancelled():
            with translated(doing):
                self._reader.result()

    async def check_alive(self, pause_seconds: float) -> None:
        """Send a ping, unless a reply is awaited or a ping was sent within half of `pause_seconds`.

        Each subscriber calls it every `pause_seconds`. Raises SourceError if the connection has gone silent.
        """
        self._raise_if_silent()
        if self._connection is not None and self._connection.expired:
            self._end(SourceUnavailableError("the subscription's credentials were renewed, so it connects again"))
        self._raise_unless_open("checking the subscription")
        now = boot_seconds()
        if not self._commands and now - self._pinged_at >= pause_seconds / 2:
            self._pinged_at = now
            self._ping()

    async def close(self) -> None:
        """Close the connection, which ends all subscriptions."""
        self._is_closed = True
        await cancel_until_done([self._reader], MAX_WAIT_SECONDS)

    @property
    def _is_open(self) -> bool:
        return self._connection is not None and not self.ended and not self._connection.has_ended

    def _raise_unless_open(self, doing: str) -> None:
        self.raise_if_ended(doing)
        if not self._is_open:
            raise SourceUnavailableError(f"{doing}: the connection was closed")

    async def _run(self) -> None:
        connection = cast("DialedConnection", await self._pool.get_connection())
        try:
            self._connection = connection
            self._received_at = boot_seconds()
            self._opened.set()
            await self._read(connection)
        finally:
            self._connection = None
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)

    async def _read(self, connection: DialedConnection) -> None:
        """Read messages from the connection directly; redis-py's handling of each takes longer than all the rest."""
        passed_on = 0
        while True:
            limit = MESSAGES_PER_TURN * min(max(len(self._subscribers), 1), MAX_SHARES)
            while passed_on < limit:
                try:
                    # No timeout: check_alive() detects silence, and asyncio's timeout costs as much as the read.
                    reply = await connection.read_response(timeout=math.inf)
                except ResponseError as error:
                    passed_on += self._refused(error)
                else:
                    passed_on += self._handle(reply)
            passed_on = 0
            raise_if_cancelled()
            self._received_at = boot_seconds()
            if not self._is_behind():
                # Other tasks run now, and a burst waits in the server's output buffer, which has more room than the
                # message queues. Not while behind: the server closes a connection whose buffer exceeds its limit.
                await asyncio.sleep(0)

    def _handle(self, reply: Any) -> int:
        """Process one reply. Return for how many messages it counts: MESSAGES_PER_TURN if a function needs a turn."""
        kind = reply[0] if isinstance(reply, list) else b"pong"
        if kind == b"message":
            number, wants_turn = self._channels.pass_on(reply[1], Message(reply[1], reply[2]))
        elif kind == b"pmessage":
            number, wants_turn = self._patterns.pass_on(reply[1], Message(reply[2], reply[3], reply[1]))
        else:
            return self._replied(kind, reply)
        return MESSAGES_PER_TURN if wants_turn else number

    def _replied(self, kind: bytes, reply: Any) -> int:
        """Process a reply to the oldest command."""
        self._received_at = boot_seconds()
        command = self._commands[0] if self._commands else None
        if command is None or kind != command.reply:
            raise SourceUnavailableError(f"listening: unexpected reply {kind!r}")
        if command.subscribing is not None:
            (self._patterns if kind == b"psubscribe" else self._channels).confirm(reply[1], command.subscribing)
        command.missing -= 1
        if command.missing == 0:
            self._commands.popleft().replied.set()
        return MESSAGES_PER_TURN

    def _refused(self, error: ResponseError) -> int:
        """Process the refusal of the oldest command."""
        self._received_at = boot_seconds()
        if not self._commands:
            raise error
        command = self._commands.popleft()
        command.error = error
        command.replied.set()
        return MESSAGES_PER_TURN

    def _ping(self) -> _Command:
        self._write([command := _Command(b"pong", 1, None)], _packed("PING"))
        return command

    def _send(self, verb: str, names: Sequence[bytes], subscribing: Subscribing | None = None) -> list[_Command]:
        """Send a command for each batch of names. Does not wait for the replies."""
        batches = [names[start : start + MAX_CHANNELS] for start in range(0, len(names), MAX_CHANNELS)]
        commands = [_Command(verb.lower().encode(), len(batch), subscribing) for batch in batches]
        self._write(commands, b"".join([_packed(verb, *batch) for batch in batches]))
        return commands

    def _write(self, commands: Sequence[_Command], packed: bytes) -> None:
        """Write commands. Not with redis-py, which would connect again if the connection has been lost."""
        if self._connection is not None:
            self._commands.extend(commands)
            self._connection.transport.write(packed)

    async def _wait_for_replies(self, commands: Sequence[_Command], doing: str) -> None:
        gives_up_at = boot_seconds() + SILENCE_SECONDS
        for command in commands:
            while not await self.wait_for(command.replied, CONFIRM_SECONDS):
                self._raise_unless_open(doing)
                # While messages arrive, the reply may be queued behind them in the server.
                if boot_seconds() > min(self._received_at + CONFIRM_SECONDS, gives_up_at):
                    raise SourceTimeoutError(f"{doing}: no answer in time")
            if command.error is not None:
                raise translate(command.error, doing) from command.error

    def _raise_if_silent(self) -> None:
        """End the connection if a reply is overdue and nothing else arrives."""
        if self._commands:
            waiting_since = max(self._commands[0].sent_at, self._received_at)
            if boot_seconds() - waiting_since > SILENCE_SECONDS:
                self._end(SourceTimeoutError("the subscription went silent"))
                self.raise_if_ended()

    def _end(self, failure: SourceError) -> None:
        self._failure = self._failure or failure
        self._reader.cancel()

    def _reader_ended(self, reader: "asyncio.Task[None]") -> None:
        if not reader.cancelled():
            reader.exception()  # otherwise asyncio logs it if it is never retrieved
        for subscriber in list(self._subscribers):
            subscriber.on_end()

    def _is_behind(self) -> bool:
        return bool(self._commands) and self._received_at - self._commands[0].sent_at > BEHIND_SECONDS


def _packed(*command: Any) -> bytes:
    return cast("bytes", hiredis.pack_command(command))
