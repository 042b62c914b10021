"""Connections pinned to busy callers; checking one out of a pool costs more than the command."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import hiredis
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection

from listeners.runtime.deadlines import Deadlines

__all__ = ["PinnedConnections"]

#: How long one round trip may take in all while bytes of its replies keep arriving, as over a slow link.
MAX_REPLY_SECONDS = 60.0
#: The size of an argument from which on a command is packed with one copy of it, where hiredis makes three.
LARGE_BYTES = 1024 * 1024


class PinnedConnections:
    """Sends commands in one round trip, over connections that it takes from the servers' pools and keeps.

    It keeps as many connections as were in use concurrently. The pool counts them as in use, so its limit holds.
    `timeout_seconds` bounds the wait for all replies of one round trip. While a reply is arriving, it bounds the wait
    for further bytes, and MAX_REPLY_SECONDS the whole.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._deadlines = Deadlines[AbstractConnection](timeout_seconds, self._on_deadline)
        #: Connections whose reply is late but arriving: when that was first noticed, and how many reads there had been.
        self._arriving: dict[AbstractConnection, tuple[float, int]] = {}
        self._late: set[AbstractConnection] = set()
        self._idle: defaultdict[ConnectionPool, list[AbstractConnection]] = defaultdict(list)
        self._generation = 0

    async def run(self, pool: ConnectionPool, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return the replies in order. A refused command has its error as its reply.

        Raises errors of redis-py, OSError or TimeoutError. The commands may have been executed then.
        """
        generation = self._generation
        connection = await self._acquire(pool)
        try:
            packed = b"".join([_packed(command) for command in commands])
            await connection.send_packed_command(packed, check_health=False)
            self._deadlines.add(connection)
            # Connection.read_response adds more time than hiredis takes. The parser also raises if the connection is
            # lost, and the connection is closed below.
            read = connection._parser.read_response  # type: ignore[attr-defined]
            replies = [await read() for _ in commands]
        except BaseException as error:
            late = self._end_deadline(connection)
            await self._release(pool, connection)
            if late and not isinstance(error, asyncio.CancelledError):
                raise TimeoutError(f"no answer within {self._timeout_seconds:g} s") from error
            raise
        # The last reply may have arrived just as the connection was aborted.
        if not self._end_deadline(connection) and generation == self._generation:
            self._idle[pool].append(connection)
        else:
            await self._release(pool, connection)
        return replies

    async def release_all(self) -> None:
        """Return all connections to their pools, because they may lead to the wrong server by now."""
        self._generation += 1
        idle = [(pool, connection) for pool, connections in self._idle.items() for connection in connections]
        self._idle.clear()
        # Shielded: connections that are not returned would count as in use forever.
        await asyncio.shield(asyncio.gather(*(self._release(pool, connection) for pool, connection in idle)))

    def _on_deadline(self, connection: AbstractConnection) -> None:
        """Abort a connection whose replies did not arrive in time, unless they are arriving."""
        reads = getattr(connection._parser, "reads", 0)
        since, reads_before = self._arriving.get(connection, (time.monotonic(), -1))
        reader = getattr(connection._parser, "_reader", None)
        arriving = reads > reads_before and reader is not None and reader.has_data()
        if arriving and time.monotonic() - since < MAX_REPLY_SECONDS:
            self._arriving[connection] = since, reads
            self._deadlines.add(connection)
            return
        self._late.add(connection)
        if connection._writer is not None:
            connection._writer.transport.abort()

    def _end_deadline(self, connection: AbstractConnection) -> bool:
        """End a connection's deadline; return whether it was aborted. Call it before the release, after which another
        command may use the connection.
        """
        self._deadlines.remove(connection)
        if self._arriving:
            self._arriving.pop(connection, None)
        late = connection in self._late
        self._late.discard(connection)
        return late

    async def _acquire(self, pool: ConnectionPool) -> AbstractConnection:
        idle = self._idle.get(pool)
        if not idle:
            connection: AbstractConnection = await pool.get_connection()
            return connection
        connection = idle.pop()
        try:
            await pool.ensure_connection(connection)  # reconnects if it was closed meanwhile
        except BaseException:
            await self._release(pool, connection)
            raise
        return connection

    async def _release(self, pool: ConnectionPool, connection: AbstractConnection) -> None:
        """Close a connection and return it to its pool, even while the current task is being cancelled."""
        await connection.disconnect(nowait=True)
        await asyncio.shield(pool.release(connection))


def _packed(command: tuple[Any, ...]) -> bytes:
    """Pack a command. hiredis does it in C: redis-py's own packing takes as long as the rest of the sending."""
    if not any(isinstance(part, bytes) and len(part) >= LARGE_BYTES for part in command):
        packed: bytes = hiredis.pack_command(command)
        return packed
    parts = [part if isinstance(part, bytes) else str(part).encode() for part in command]
    pieces = [piece for part in parts for piece in (b"$%d\r\n" % len(part), part, b"\r\n")]
    return b"".join([b"*%d\r\n" % len(parts), *pieces])
