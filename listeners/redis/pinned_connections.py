"""Connections that stay with those who send commands all the time: a pool's own care costs more than such a command."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import hiredis
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection

from listeners.runtime.deadlines import Deadlines

__all__ = ["PinnedConnections"]


class PinnedConnections:
    """Sends commands in one round trip, over connections that it borrows from the pools of servers and keeps.

    It keeps as many as were in use at once; for a pool they are in use, and its limit holds. `timeout_seconds`: how
    long all answers of one round trip may take.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._deadlines = Deadlines[AbstractConnection](timeout_seconds, self._cut_off)
        self._late: set[AbstractConnection] = set()
        self._idle: defaultdict[ConnectionPool, list[AbstractConnection]] = defaultdict(list)
        self._generation = 0

    async def run(self, pool: ConnectionPool, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The answers, in order; one that was refused has its error in its place.

        Raises errors of redis-py, OSError or TimeoutError; what became of the commands is not known then.
        """
        generation = self._generation
        connection = await self._borrowed(pool)
        try:
            # In C; a connection's own packing takes as long as the rest of the sending.
            packed = b"".join([hiredis.pack_command(command) for command in commands])
            await connection.send_packed_command(packed, check_health=False)
            self._deadlines.add(connection)
            # What Connection.read_response does besides takes longer than hiredis: a lost connection is told by the
            # parser too, and closed below.
            read = connection._parser.read_response  # type: ignore[attr-defined]
            answers = [await read() for _ in commands]
        except BaseException as error:
            late = self._watched_no_more(connection)
            await self._given_back(pool, connection)
            if late and not isinstance(error, asyncio.CancelledError):
                raise TimeoutError(f"no answer within {self._timeout_seconds:g} s") from error
            raise
        # The last answer may have come just as the connection was cut off.
        if not self._watched_no_more(connection) and generation == self._generation:
            self._idle[pool].append(connection)
        else:
            await self._given_back(pool, connection)
        return answers

    async def release_all(self) -> None:
        """Give all connections back: where they lead may be wrong by now."""
        self._generation += 1
        idle = [(pool, connection) for pool, connections in self._idle.items() for connection in connections]
        self._idle.clear()
        # Shielded: those that are left would count as in use for ever.
        await asyncio.shield(asyncio.gather(*(self._given_back(pool, connection) for pool, connection in idle)))

    def _cut_off(self, connection: AbstractConnection) -> None:
        """End the reading of answers that did not come in time."""
        self._late.add(connection)
        if connection._writer is not None:
            connection._writer.transport.abort()

    def _watched_no_more(self, connection: AbstractConnection) -> bool:
        """Whether it was cut off. Comes before it is given back, as it may be another command's then."""
        self._deadlines.remove(connection)
        late = connection in self._late
        self._late.discard(connection)
        return late

    async def _borrowed(self, pool: ConnectionPool) -> AbstractConnection:
        kept = self._idle.get(pool)
        if not kept:
            connection: AbstractConnection = await pool.get_connection()
            return connection
        connection = kept.pop()
        try:
            await pool.ensure_connection(connection)  # it may have been closed meanwhile
        except BaseException:
            await self._given_back(pool, connection)
            raise
        return connection

    async def _given_back(self, pool: ConnectionPool, connection: AbstractConnection) -> None:
        """Close a connection and return it to its pool, also while our task is being cancelled."""
        await connection.disconnect(nowait=True)
        await asyncio.shield(pool.release(connection))
