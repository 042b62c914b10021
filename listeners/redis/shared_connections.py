"""Connections that all callers of a client share: commands are pipelined, and each reply goes to the oldest call."""

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import hiredis
from redis.asyncio import ConnectionPool
from redis.exceptions import ReadOnlyError

from listeners.redis.pipeline import Pipeline
from listeners.runtime.tasks import raise_if_cancelled

__all__ = ["SharedConnections"]

#: The pause after an attempt to open another one has failed.
PAUSE_SECONDS = 5.0
#: The size of an argument from which on a command is packed with one copy of it, where hiredis makes three.
LARGE_BYTES = 1024 * 1024


class SharedConnections:
    """Sends commands over at most `number` connections to each server, which it takes from the servers' pools.

    The pool counts them as in use, so its limit holds. `timeout_seconds` bounds the wait for the next reply on a
    connection: after that long without an answer it is closed, and the outcome of every call on it is unknown.
    A call whose task is cancelled does not affect the others: its replies are dropped.
    """

    def __init__(self, timeout_seconds: float, number: int) -> None:
        self._timeout_seconds = timeout_seconds
        self._number = number
        self._pipelines: defaultdict[ConnectionPool, list[Pipeline]] = defaultdict(list)
        self._opening: dict[ConnectionPool, asyncio.Task[Pipeline]] = {}
        #: When an attempt last failed (time.monotonic).
        self._failed_at: dict[ConnectionPool, float] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def run(self, pool: ConnectionPool, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return the replies in order; no command of another call is executed between these. A refused command has
        its error as its reply.

        Raises errors of redis-py, OSError or TimeoutError. The commands may have been executed then.
        """
        packed = b"".join([_packed(command) for command in commands])
        pipeline = self._free_pipeline(pool) or await self._open(pool)
        while not pipeline.has_room:
            await pipeline.wait_for_room()
            pipeline = self._free_pipeline(pool) or await self._open(pool)
        replies = await pipeline.send(packed, len(commands))
        for reply in replies:
            if isinstance(reply, ReadOnlyError):
                pipeline.retire()  # it leads to a server that was the primary before
        return replies

    async def release_all(self) -> None:
        """Send nothing more over the present connections, because they may lead to the wrong server by now."""
        for pipelines in self._pipelines.values():
            for pipeline in pipelines:
                pipeline.retire()
        self._pipelines.clear()

    async def aclose(self) -> None:
        """Close all connections at once."""
        for opening in self._opening.values():
            opening.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)
        for pipelines in self._pipelines.values():
            for pipeline in pipelines:
                pipeline.abort()
        self._pipelines.clear()
        await asyncio.gather(*self._closing)

    def _free_pipeline(self, pool: ConnectionPool) -> Pipeline | None:
        """Return the least busy connection, if there is one. If all are busy, another is opened for later calls."""
        pipelines = self._pipelines.get(pool)
        if not pipelines:
            return None
        for pipeline in pipelines:
            if not _is_usable(pipeline, pool):
                break
            if pipeline.calls == 0:
                return pipeline
        for pipeline in [pipeline for pipeline in pipelines if not _is_usable(pipeline, pool)]:
            pipelines.remove(pipeline)
            pipeline.retire()
        if not pipelines:
            return None
        least_busy = min(pipelines, key=lambda pipeline: pipeline.calls)
        if least_busy.calls > 0 and len(pipelines) < self._number and self._may_open_another(pool):
            self._start_opening(pool)
        return least_busy

    def _may_open_another(self, pool: ConnectionPool) -> bool:
        paused_until = self._failed_at.get(pool, -math.inf) + PAUSE_SECONDS
        return pool not in self._opening and time.monotonic() >= paused_until

    async def _open(self, pool: ConnectionPool) -> Pipeline:
        """Open a connection; concurrent callers share the attempt."""
        opening = self._opening.get(pool) or self._start_opening(pool)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            raise_if_cancelled()
            raise ConnectionError("the client was closed") from None

    def _start_opening(self, pool: ConnectionPool) -> "asyncio.Task[Pipeline]":
        opening = self._opening[pool] = asyncio.create_task(self._connect(pool), name="opening a shared connection")
        opening.add_done_callback(lambda task: self._opened(pool, task))
        return opening

    async def _connect(self, pool: ConnectionPool) -> Pipeline:
        connection = await pool.get_connection()
        return Pipeline(connection, self._timeout_seconds, on_close=lambda _: self._close(pool, connection))

    def _opened(self, pool: ConnectionPool, opening: "asyncio.Task[Pipeline]") -> None:
        del self._opening[pool]
        if opening.cancelled():
            return
        if opening.exception() is not None:
            self._failed_at[pool] = time.monotonic()
        else:
            self._pipelines[pool].append(opening.result())

    def _close(self, pool: ConnectionPool, connection: Any) -> None:
        closing = asyncio.create_task(_release(pool, connection), name="closing a shared connection")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


def _is_usable(pipeline: Pipeline, pool: ConnectionPool) -> bool:
    """Return whether calls can be sent. Behind Sentinels, a connection must lead to the primary last reported."""
    primary = getattr(pool, "master_address", None)
    return pipeline.is_open and (primary is None or pipeline.address == primary)


async def _release(pool: ConnectionPool, connection: Any) -> None:
    await connection.disconnect(nowait=True)
    await pool.release(connection)


def _packed(command: tuple[Any, ...]) -> bytes:
    """Pack a command. hiredis does it in C: redis-py's own packing takes as long as the rest of the sending."""
    if not [part for part in command if isinstance(part, bytes) and len(part) >= LARGE_BYTES]:
        packed: bytes = hiredis.pack_command(command)
        return packed
    parts = [part if isinstance(part, bytes) else str(part).encode() for part in command]
    pieces = [piece for part in parts for piece in (b"$%d\r\n" % len(part), part, b"\r\n")]
    return b"".join([b"*%d\r\n" % len(parts), *pieces])
