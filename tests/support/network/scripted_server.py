"""A server that replies to each command with what a test wants: a Redis that is not one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

__all__ = ["ScriptedServer", "scripted_server"]

#: What a standalone Redis 7.2 replies to the commands with which a client begins.
GREETINGS = {b"INFO": b"$19\r\nredis_version:7.2.4\r\n", b"CLIENT": b"+OK\r\n", b"SELECT": b"+OK\r\n"}
Reply = Callable[[Sequence[bytes]], bytes]


@dataclass
class ScriptedServer:
    """A running server: its port, how many connections were made, and the commands that it received."""

    port: int
    connections: int
    received: list[bytes]


@contextlib.asynccontextmanager
async def scripted_server(
    reply: Reply, host: str = "127.0.0.1", *, greeting: bool = True
) -> AsyncIterator[ScriptedServer]:
    """Run a server that replies with the bytes that `reply` returns for a command. With `greeting`, it replies to the
    first commands of a client like a Redis.
    """
    state = ScriptedServer(0, 0, [])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while header := await reader.readline():
                command = [await _argument(reader) for _ in range(int(header[1:]))]
                state.received.append(command[0])
                greeted = GREETINGS.get(command[0].upper()) if greeting or command[0] == b"CLIENT" else None
                writer.write(greeted or reply(command))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, host, 0)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()


async def _argument(reader: asyncio.StreamReader) -> bytes:
    length = int((await reader.readline())[1:])
    return (await reader.readexactly(length + 2))[:-2]
