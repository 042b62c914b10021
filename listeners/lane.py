"""Connections that stay with those who send commands all the time: a pool's own care costs more than such a command."""

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

__all__ = ["Lane"]


class Lane:
    """Sends commands to one server in one round trip, over connections that it borrows from a pool and keeps.

    As many as were ever in use at once; those of a redis-py pool count as in use, and its limit holds.
    """

    def __init__(self) -> None:
        self._idle: list[tuple[ConnectionPool, AbstractConnection]] = []
        self._generation = 0

    async def run(self, pool: ConnectionPool, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The answers, in order; one that was refused has its error in its place. Raises errors of redis-py."""
        generation = self._generation
        connection = await self._borrowed(pool)
        try:
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            answers = [await _answer(connection) for _ in commands]
        except BaseException:
            await self._given_back(pool, connection)
            raise
        if generation == self._generation:
            self._idle.append((pool, connection))
        else:
            await self._given_back(pool, connection)
        return answers

    async def let_go(self) -> None:
        """Give all connections back: where they lead may be wrong by now."""
        self._generation += 1
        idle, self._idle = self._idle, []
        for pool, connection in idle:
            await self._given_back(pool, connection)

    async def _borrowed(self, pool: ConnectionPool) -> AbstractConnection:
        while self._idle:
            owner, connection = self._idle.pop()
            if owner is not pool:
                await self._given_back(owner, connection)
                continue
            try:
                await pool.ensure_connection(connection)  # it may have been closed meanwhile
            except BaseException:
                await self._given_back(pool, connection)
                raise
            return connection
        return await pool.get_connection()

    async def _given_back(self, pool: ConnectionPool, connection: AbstractConnection) -> None:
        """Close a connection and return it to its pool, also while our task is being cancelled."""
        await connection.disconnect(nowait=True)
        await asyncio.shield(pool.release(connection))


async def _answer(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response()
    except RedisError as error:
        if not connection.is_connected:
            raise
        return error
